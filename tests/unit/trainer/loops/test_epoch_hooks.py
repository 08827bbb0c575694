"""Epoch hooks: the events of an epoch outside a run."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.loops.epoch_hooks import EpochHooks

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)


@pytest.fixture
def trainer(make):
    class Counting(Classifier):
        computed = 0

        def metric_on_epoch_end(self):
            self.computed += 1
            return {}

    return make(Counting)


def test_the_metrics_are_computed_once_however_often_the_end_is_announced(trainer):
    with EpochHooks(trainer, [BATCH], {}) as hooks:
        hooks.start_epoch()
        hooks.run_batch_outside_loop(BATCH)
        hooks.finish_training()
        hooks.finish_epoch()
        assert trainer.computed == 1
        assert set(hooks.results) == {"train_loss", "train_acc"}


def test_an_epoch_counts_no_epoch_and_resumes_nowhere(trainer):
    with EpochHooks(trainer, [BATCH], {}) as hooks:
        hooks.start_epoch()
        assert hooks.resume_mid_epoch() is None
        hooks.finish_epoch()
    assert trainer.progress_checker.get_epoch() == 1
    assert len(trainer.history) == 0


def test_hooks_that_have_ended_do_not_keep_the_trainer_alive(make):
    import gc
    import weakref

    trainer = make(Classifier)
    with EpochHooks(trainer, [BATCH], {}) as hooks:
        hooks.start_epoch()
    reference = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert reference() is None
    assert hooks.grad_enabled
