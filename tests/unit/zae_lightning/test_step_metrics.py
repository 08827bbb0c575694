from types import SimpleNamespace

import torch
from zae_lightning.step_metrics import StepMetrics, scalar_tensors


def test_numbers_and_tensors_of_one_element_become_metrics():
    loss = torch.ones(1, requires_grad=True) * 2
    found = scalar_tensors(
        {"loss": loss, "acc": 0.5, "n": 3, "output": torch.ones(()), "preds": torch.ones(4), "s": ""}
    )
    assert {name: value.item() for name, value in found.items()} == {
        "train_loss": 2.0,
        "train_acc": 0.5,
        "train_n": 3.0,
    }
    assert all(value.shape == () and not value.requires_grad for value in found.values())


def test_results_of_the_epoch_replace_the_latest_step_once_it_is_cleared():
    trainer, metrics = SimpleNamespace(callback_metrics={}), StepMetrics()
    metrics.update(trainer, {"loss": torch.tensor(2.0)})
    assert trainer.callback_metrics == {"train_loss": torch.tensor(2.0)}
    results = {"train_loss": 1.0, "train_f1": 0.5, "val_loss": 3.0}
    assert metrics.without_latest(results) == {"train_f1": 0.5, "val_loss": 3.0}
    metrics.clear()
    assert metrics.without_latest(results) == results
