"""Evaluation: outputs for new data, results for a loader, and a trainer that is afterwards as before."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon


@pytest.mark.parametrize(("key", "warns"), [("outputs", True), ("Output", True), ("preds", False), ("output", False)])
def test_inference_warns_once_of_a_key_that_is_nearly_output(make, valid_loader, key, warns):
    class Own(Classifier):
        def test_step(self, batch):
            step = super().test_step(batch)
            return {"loss": step["loss"], key: step["output"]}

    trainer = make(Own)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert bool(trainer.inference(valid_loader)) is (key == "output")
        trainer.inference(valid_loader)
    texts = [str(w.message) for w in seen if "inference collects" in str(w.message)]
    assert len(texts) == warns
    assert all(f'test_step returns "{key}"' in text for text in texts)
    assert all(w.filename == __file__ for w in seen if "inference collects" in str(w.message))


def records(trainer):
    """Return all that evaluating must leave alone."""
    return copy.deepcopy(
        {
            "mode": trainer.mode,
            "train": {key: str(values) for key, values in trainer.log_train.items()},
            "test": {key: str(values) for key, values in trainer.log_test.items()},
            "metrics": (dict(trainer.train_metrics), dict(trainer.test_metrics)),
            "steps": (trainer.progress_checker.get_step(), trainer.progress_checker.get_epoch()),
            "history": (list(trainer.history), trainer.history.steps("train"), trainer.history.steps("test")),
            "best": (trainer.loss_buffer, trainer.weight_buffer["epoch"]),
            "counts": (trainer.n_data, trainer.n_valid_data, trainer.batch_size),
            "modes": [module.training for module in trainer.model.modules()],
            "weights": {key: value.tolist() for key, value in trainer.model.state_dict().items()},
            "loggers": len(trainer.loggers),
        }
    )


@pytest.fixture
def trained(make, loader, valid_loader):
    model = nn.Sequential(nn.Linear(10, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))
    trainer = make(model=model)
    trainer.run(2, loader, valid_loader)
    return trainer


@pytest.fixture
def x(dataset):
    return dataset.tensors[0]


def test_predicting_gives_the_models_output_in_eval_mode_and_leaves_the_trainer_alone(trained, dataset, x):
    before = records(trained)
    outputs = [
        trained.predict(data)
        for data in (x, x.numpy(), TensorDataset(x), dataset, DataLoader(dataset, 7), (x, None), {"input": x})
    ]
    assert records(trained) == before
    trained.model.eval()
    with torch.no_grad():
        expected = trained.model(x)
    for output in outputs:
        assert not output.requires_grad
        torch.testing.assert_close(output, expected)


def test_an_own_predict_step_receives_the_batch_and_may_return_any_structure(make, dataset, x):
    class Own(Classifier):
        def predict_step(self, batch):
            assert self.mode == "test"
            assert not self.model.training
            x, y = batch
            return {"class": self.model(x).argmax(1), "pair": (y, x[:, 0])}

    output = make(Own).predict(DataLoader(dataset, 5))
    assert output["class"].shape == (24,)
    assert torch.equal(output["pair"][0], dataset.tensors[1])
    assert torch.equal(output["pair"][1], x[:, 0])


def test_predicting_needs_no_optimizer_and_no_labels(make, x):
    assert make(optimizer=None).predict(x).shape == (24, 2)


def test_the_best_weights_are_used_for_the_call_only(trained, valid_loader, x):
    best = trained.weight_buffer["weight"][-1]
    with torch.no_grad():
        for parameter in trained.model.parameters():
            parameter.add_(1.0)
    before = records(trained)
    predicted, evaluated = trained.predict(x, weights="best"), trained.evaluate(valid_loader, weights="best")
    assert records(trained) == before
    trained.model.load_state_dict(best)
    torch.testing.assert_close(predicted, trained.predict(x))
    assert evaluated == trained.evaluate(valid_loader)
    with pytest.raises(ValueError, match="weights='latest' is unknown"):
        trained.predict(x, weights="latest")


def test_without_best_weights_the_error_says_what_to_do(make, x):
    with pytest.raises(ValueError, match="Run first"):
        make().predict(x, weights="best")


def test_evaluating_returns_means_and_metrics_and_leaves_the_trainer_alone(make, loader, valid_loader):
    class Measured(Classifier):
        def test_step(self, batch):
            x, y = batch
            return {**super().test_step(batch), "preds": self.model(x).argmax(1), "target": y}

        def metric_on_epoch_end(self):
            return {"batches": len(self.log_test["loss"])}

    metrics = {"acc": torchmetrics.Accuracy(task="multiclass", num_classes=2)}
    trainer = make(Measured, metrics=metrics)
    with pytest.warns(UserWarning, match="train mode"):
        trainer.run(2, loader, valid_loader)
    validated = trainer.history[-1]
    before = records(trainer)
    results = trainer.evaluate(valid_loader)
    assert records(trainer) == before
    assert set(results) == {"loss", "acc", "batches"}
    assert results["loss"] == pytest.approx(validated["test_loss"])
    assert results["acc"] == pytest.approx(validated["test_acc"])
    assert results["batches"] == 2
    trainer.run(1, loader, valid_loader)
    assert trainer.history[-1]["epoch"] == 3


def test_evaluating_before_any_run_leaves_no_trace(make, valid_loader):
    trainer = make()
    before = records(trainer)
    assert trainer.evaluate(valid_loader)["loss"] > 0
    assert records(trainer) == before
    assert trainer.lightning_trainer is None


def test_an_exception_restores_all(make, loader, valid_loader):
    class Failing(Classifier):
        def test_step(self, batch):
            if getattr(self, "fails", False):
                raise ArithmeticError
            return super().test_step(batch)

    trainer = make(Failing)
    trainer.run(1, loader, valid_loader)
    before = records(trainer)
    trainer.fails = True
    with pytest.raises(ArithmeticError):
        trainer.evaluate(valid_loader)
    assert records(trainer) == before


def test_evaluating_changes_no_number_of_a_later_run(make, loader, valid_loader):
    batches, tested, losses = list(loader), list(valid_loader), []
    for evaluates in (False, True):
        torch.manual_seed(0)
        trainer = make(model=nn.Sequential(nn.Linear(10, 4), nn.Dropout(0.5), nn.Linear(4, 2)))
        trainer.run(1, batches, tested)
        if evaluates:
            trainer.evaluate(tested)
            trainer.predict(batches)
        trainer.run(1, batches, tested)
        losses.append(trainer.history.steps())
    assert losses[0] == losses[1]


def test_precision_holds(make, x):
    trainer = make(Classifier.add_on(PrecisionMixerAddon), precision="bf16")
    assert trainer.predict(x).dtype is torch.bfloat16


@pytest.mark.timeout(400)
def test_two_processes_predict_in_order(make, x):
    trainer = make(Classifier.add_on(MultiGPUAddon), device=["cpu", "cpu"])
    torch.testing.assert_close(trainer.predict(x, batch_size=5), trainer.model(x).detach())
    assert not hasattr(trainer, "_zae_outputs")
    assert trainer.mode == "train"


def test_a_model_that_is_still_to_be_sharded_does_not_predict_on_a_gpu(make, x):
    from lightning.pytorch.strategies import ModelParallelStrategy

    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1)
    trainer = make(lightning={"strategy": strategy})
    assert trainer.predict(x).shape == (len(x), 2)
    trainer.device = [torch.device("cuda", 0)]
    with pytest.raises(ValueError, match="Call run or evaluate first"):
        trainer.predict(x)
