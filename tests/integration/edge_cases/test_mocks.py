"""Trainers of mocks, as unit tests of zae-engine's users have them."""

from __future__ import annotations

from unittest.mock import MagicMock, patch

import torch

from tests.conftest import Classifier
from zae_engine.trainer import Trainer


class Mocked(Trainer):
    def train_step(self, batch):
        return {"loss": torch.tensor(0.5, requires_grad=True)}

    def test_step(self, batch):
        return {"loss": torch.tensor(0.25), "output": torch.ones(2)}


def build(mode="train", **kwargs):
    optimizer = MagicMock(spec=torch.optim.Optimizer)
    optimizer.param_groups = [{"lr": 0.1, "params": []}]
    model = MagicMock(spec=torch.nn.Module)
    model.to.return_value = model
    return Mocked(model, torch.device("cpu"), mode, optimizer, MagicMock(), **kwargs)


def test_a_batch_of_mocks_calls_what_a_batch_calls():
    trainer = build()
    trainer.run_batch((torch.ones(2, 3), torch.ones(2)))
    trainer.model.train.assert_called_once()
    trainer.optimizer.zero_grad.assert_called_once()
    trainer.optimizer.step.assert_called_once()
    trainer.scheduler.step.assert_not_called()
    assert float(trainer.log_train["loss"][0]) == 0.5
    trainer.toggle()
    trainer.run_batch({"x": torch.ones(2, 3)})
    trainer.model.eval.assert_called_once()


def test_a_scheduler_of_mocks_steps_per_batch():
    trainer = build(scheduler_step_on_batch=True)
    trainer.run_batch((torch.ones(2, 3),))
    trainer.scheduler.step.assert_called_once_with()


def test_run_calls_a_patched_run_epoch():
    trainer = build(log_bar=False)
    loader = MagicMock(spec=torch.utils.data.DataLoader)
    loader.__iter__.return_value = iter(())
    loader.__len__.return_value = 3
    loader.batch_size = 4
    with patch.object(trainer, "run_epoch") as run_epoch, patch.object(trainer, "check_better") as check_better:
        trainer.run(2, loader, loader)
    assert run_epoch.call_count == 4
    assert check_better.call_count == 2
    assert trainer.scheduler.step.call_count == 2


def test_an_epoch_calls_a_patched_run_batch(make, loader):
    trainer = make(Classifier)
    with patch.object(trainer, "run_batch") as run_batch:
        trainer.run_epoch(loader)
        assert run_batch.call_count == 3
        trainer.inference(loader)
        assert run_batch.call_count == 6


def test_a_mock_that_is_no_module_stays_the_model():
    model = MagicMock()
    assert Mocked(model, "cpu").model is model
