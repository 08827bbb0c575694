"""Fit hooks: the order of events in a run, and what an epoch leaves in the history."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.loops.fit_hooks import FitHooks

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)


class Traced(Classifier):
    """Records the order of its methods."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.trace = []

    def log_reset(self, epoch_end=False):
        self.trace.append(f"log_reset {self.mode}")
        super().log_reset(epoch_end)

    def metric_on_epoch_end(self):
        self.trace.append(f"metrics {self.mode}")
        return {}

    def check_better(self, cur_epoch, cur_loss):
        self.trace.append(f"check_better {self.mode} {cur_epoch}")
        return super().check_better(cur_epoch, cur_loss)


@pytest.fixture
def trainer(make):
    trainer = make(Traced)
    trainer.loader = trainer.valid_loader = [BATCH]
    return trainer


ORDER = ["log_reset train", "metrics train", "log_reset test", "metrics test", "check_better train 0"]


def test_the_events_of_an_epoch_come_in_the_order_of_0_7_6(trainer):
    with FitHooks(trainer, 1, {}) as hooks:
        hooks.start_epoch()
        hooks.run_batch_outside_loop(BATCH)
        for _ in range(2):  # Lightning announces it twice
            hooks.start_validation(training_over=True)
        hooks.run_batch_outside_loop(BATCH)
        hooks.finish_validation()
        hooks.finish_training()
        hooks.finish_epoch()
    assert trainer.trace == ORDER
    assert trainer.progress_checker.get_epoch() == 2
    record = trainer.history[-1]
    assert record["best"] is True
    assert {"epoch", "steps", "train_loss", "train_acc", "test_loss", "lr", "seconds"} <= set(record)


def test_results_of_validation_have_a_second_name(trainer):
    with FitHooks(trainer, 1, {}) as hooks:
        hooks.start_epoch()
        hooks.run_batch_outside_loop(BATCH)
        hooks.start_validation()
        hooks.run_batch_outside_loop(BATCH)
        hooks.finish_validation()
        assert hooks.results["val_loss"] == hooks.results["test_loss"]


def test_a_validation_in_the_middle_leaves_the_training_log(trainer):
    with FitHooks(trainer, 1, {}) as hooks:
        hooks.start_epoch()
        hooks.run_batch_outside_loop(BATCH)
        hooks.start_validation(training_over=False)
        hooks.run_batch_outside_loop(BATCH)
        hooks.finish_validation()
        hooks.run_batch_outside_loop(BATCH)
        assert len(trainer.log_train["loss"]) == 2
        hooks.finish_epoch()
    assert trainer.trace.count("metrics train") == 1


def test_an_exception_in_validation_leaves_train_mode(trainer):
    def fail():
        with FitHooks(trainer, 1, {}) as hooks:
            hooks.start_epoch()
            hooks.start_validation()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert trainer.mode == "train"
    assert trainer._zae_state.run.depth == 0
    assert trainer._zae_state.run.display is None


def test_an_overridden_run_epoch_gives_the_same_order(make):
    class OwnEpochs(Traced):
        def run_epoch(self, loader, **kwargs):
            super().run_epoch(loader, **kwargs)

    trainer = make(OwnEpochs)
    trainer.loader = trainer.valid_loader = [BATCH]
    with FitHooks(trainer, 1, {}) as hooks:
        hooks.run_custom_epoch()
    assert trainer.trace == ORDER
    assert trainer.history[-1]["test_loss"] > 0


def test_a_loss_without_a_mean_is_an_error_that_shows_it(make):
    class Odd(Classifier):
        def logging(self, step_dict):
            super().logging({**step_dict, "loss": "text"})

    trainer = make(Odd)
    trainer.loader = [BATCH]
    with FitHooks(trainer, 1, {}) as hooks:
        hooks.start_epoch()
        hooks.run_batch_outside_loop(BATCH)
        with pytest.raises(TypeError, match="train_step returned 'text' under \"loss\""):
            hooks.finish_epoch()


@pytest.mark.parametrize("way", ["run", "own"])
def test_fast_dev_run_leaves_no_trace(make, loader, valid_loader, tmp_path, way):
    import lightning.pytorch as L
    from lightning.pytorch.loggers import CSVLogger

    from zae_engine.trainer.addons import StateManagerAddon

    logger, folder = CSVLogger(tmp_path, "logs"), tmp_path / "state"
    lightning = {"fast_dev_run": True} if way == "run" else None
    cls = Classifier.add_on(StateManagerAddon)
    trainer = make(cls, loggers=[logger], save_path=str(folder), lightning=lightning)
    if way == "run":
        trainer.run(1, loader, valid_loader)
    else:
        own = L.Trainer(fast_dev_run=True, accelerator="cpu", enable_progress_bar=False)
        own.fit(trainer.lightning_module, loader, valid_loader)
    assert not (tmp_path / "logs").exists() or logger.experiment.metrics == []
    assert not folder.exists() or list(folder.iterdir()) == []
    assert trainer._zae_state.run.is_trial is False
