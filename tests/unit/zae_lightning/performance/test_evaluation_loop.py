"""Evaluation loop: the fast loop runs validations and tests; what it does not know runs in Lightning's.

That callbacks see the same in both is shown in ``test_training_loop.py``, whose runs validate and test.
"""

from __future__ import annotations

import lightning.pytorch as L
import pytest
from torch.utils.data import DataLoader
from zae_lightning.performance.evaluation_loop import FastEvaluationLoop


@pytest.fixture
def batches(monkeypatch):
    """Collects the stages and numbers of the batches that the fast loop evaluates."""
    seen = []
    original = FastEvaluationLoop._evaluate

    def evaluate(self, batch, batch_idx, plan):
        original(self, batch, batch_idx, plan)
        seen.append((self.trainer.state.stage.value, batch_idx))

    monkeypatch.setattr(FastEvaluationLoop, "_evaluate", evaluate)
    return seen


def test_validations_and_tests_run_in_the_fast_loop(make, loader, valid_loader, batches):
    trainer = make()
    trainer.run(1, loader, valid_loader)
    assert batches == [("validate", 0), ("validate", 1)]
    assert trainer.lightning_trainer.fit_loop.epoch_loop.val_loop._plan is None
    batches.clear()
    trainer.toggle("test")
    trainer.run(1, valid_loader)
    assert len(trainer.inference(valid_loader)) == 2
    assert batches == [("test", 0), ("test", 1)] * 2


def test_several_loaders_and_a_profiler_run_in_lightnings_loop(make, loader, dataset, batches):
    make().run(1, loader, [DataLoader(dataset, 8), DataLoader(dataset, 12)])
    make(lightning={"profiler": "simple"}).run(1, loader, DataLoader(dataset, 12))
    assert not batches


def test_a_callback_that_joins_during_a_validation_receives_that_batch(make, loader, dataset, batches):
    seen = []

    class Joins(L.Callback):
        def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
            if batch_idx == 1:
                late = L.callbacks.LambdaCallback(on_validation_batch_end=lambda *args: seen.append(args[4]))
                trainer.callbacks.append(late)

    make(callbacks=[Joins()]).run(1, loader, DataLoader(dataset, 6))
    assert seen == [1, 2, 3]
    assert len(batches) == 4
