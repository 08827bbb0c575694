"""Phase: from clearing the logs to the results, and a validation in between."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.display.progress_display import ProgressDisplay
from zae_engine.trainer.loops.phase import Phase, metrics_of, results_of

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)


class Counting(Classifier):
    """Counts how often its metrics are computed."""

    def metric_on_epoch_end(self):
        return {"batches": len(self.log_train["loss"] if self.mode == "train" else self.log_test["loss"])}


@pytest.fixture
def trainer(make):
    return make(Counting)


def run_batches(trainer, number):
    for _ in range(number):
        trainer.run_batch(BATCH)


def test_starting_clears_the_logs_and_finishing_returns_the_results(trainer):
    run_batches(trainer, 3)
    phase = Phase(trainer, ProgressDisplay(trainer), [BATCH, BATCH])
    phase.start()
    assert len(trainer.log_train["loss"]) == 0
    run_batches(trainer, 2)
    results = phase.finish()
    assert results["train_batches"] == 2
    assert results["train_loss"] == pytest.approx(sum(map(float, trainer.log_train["loss"])) / 2)
    assert trainer.train_metrics == {"batches": 2}


def test_the_results_of_a_test_phase_bear_its_mode(trainer):
    trainer.toggle("test")
    phase = Phase(trainer, ProgressDisplay(trainer), [BATCH])
    phase.start()
    run_batches(trainer, 1)
    assert set(phase.finish()) == {"test_loss", "test_batches"}
    assert metrics_of(trainer) == trainer.test_metrics == {"batches": 1}
    assert trainer.train_metrics == {}


def test_a_suspended_phase_continues_with_the_log_that_it_had(trainer):
    display = ProgressDisplay(trainer)
    training = Phase(trainer, display, [BATCH] * 3)
    training.start()
    run_batches(trainer, 2)
    training.suspend()
    assert training.is_suspended
    trainer.toggle("test")
    validation = Phase(trainer, display, [BATCH])
    validation.start()
    run_batches(trainer, 1)
    validation.finish()
    trainer.toggle("train")
    training.resume()
    assert not training.is_suspended
    run_batches(trainer, 1)
    assert training.finish()["train_batches"] == 3


def test_keys_that_feed_metrics_are_no_results(make):
    class WithPredictions(Classifier):
        def train_step(self, batch):
            return {**super().train_step(batch), "preds": torch.zeros(4), "target": torch.zeros(4)}

    import torchmetrics

    trainer = make(WithPredictions, metrics={"mae": torchmetrics.MeanAbsoluteError()})
    run_batches(trainer, 1)
    assert set(results_of(trainer, {"mae": 0.0})) == {"train_loss", "train_acc", "train_mae"}
