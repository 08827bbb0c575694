"""Runner: which epochs go through Lightning, and which one by one."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import Callback

from tests.conftest import Classifier
from zae_engine.trainer.loops.epoch_hooks import EpochHooks
from zae_engine.trainer.loops.fit_hooks import FitHooks
from zae_engine.trainer.loops.runner import fit, make_lightning_module, run_one_epoch

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)


class OwnEpochs(Classifier):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


class LyingLoader(list):
    """Says that it is empty."""

    def __len__(self):
        return 0


def run(trainer, n_epoch):
    trainer.loader = [BATCH]
    with FitHooks(trainer, n_epoch, {}) as hooks:
        fit(trainer, n_epoch, hooks)


def test_epochs_run_in_one_fit_of_lightning(make):
    trainer = make()
    run(trainer, 3)
    assert trainer.lightning_trainer.current_epoch == 3
    assert len(trainer.history) == 3


def test_own_epochs_are_a_fit_each(make):
    trainer = make(OwnEpochs)
    run(trainer, 3)
    assert len(trainer.history) == 3
    assert trainer.progress_checker.get_epoch() == 4


def test_a_callback_that_stops_ends_own_epochs_too(make):
    class Stopping(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    trainer = make(OwnEpochs, callbacks=Stopping())
    run(trainer, 3)
    assert len(trainer.history) == 1


def test_the_batches_of_a_loader_without_length_are_run(make):
    trainer = make()
    with EpochHooks(trainer, LyingLoader([BATCH, BATCH]), {}) as hooks:
        run_one_epoch(trainer, hooks)
    assert len(trainer.log_train["loss"]) == 2
    assert trainer.lightning_trainer is None


def test_the_module_of_a_trainer_holds_its_model(make):
    trainer = make()
    assert make_lightning_module(trainer).model is trainer.model
