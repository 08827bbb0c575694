"""Epoch results: callbacks read the results of an epoch, their loaded states, and the means for a bar."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from zae_lightning.callbacks import EpochResultsCallback, ProgressBarMetrics

from tests.conftest import Classifier


class Reading(Callback):
    """Reads the metrics at the end of each phase, and its state at the start of a run."""

    def __init__(self):
        self.read, self.loaded, self.started_with = [], None, []

    def on_fit_start(self, trainer, pl_module):
        self.started_with.append(self.loaded)

    def on_train_epoch_end(self, trainer, pl_module):
        self.read.append(("train", float(trainer.callback_metrics["train_loss"])))

    def on_validation_end(self, trainer, pl_module):
        self.read.append(("val", float(trainer.callback_metrics["val_loss"])))

    def on_test_epoch_end(self, trainer, pl_module):
        self.read.append(("test", float(trainer.callback_metrics["test_loss"])))

    def state_dict(self):
        return {"loaded": "state"}

    def load_state_dict(self, state):
        self.loaded = state["loaded"]


def test_callbacks_read_the_results_of_the_epoch_that_ends(make, loader, valid_loader):
    trainer = make(callbacks=Reading())
    trainer.run(2, loader, valid_loader)
    rows = [{"train": row["train_loss"], "val": row["test_loss"]} for row in trainer.history]
    expected = [(phase, row[phase]) for row in rows for phase in ("val", "train")]
    assert trainer.callbacks[0].read == [(phase, pytest.approx(value)) for phase, value in expected]


def test_callbacks_read_the_results_of_a_test(make, valid_loader):
    trainer = make(callbacks=Reading())
    trainer.inference(valid_loader)
    [(phase, value)] = trainer.callbacks[0].read
    assert phase == "test"
    assert value == pytest.approx(float(torch.stack(list(trainer.log_test["loss"])).mean()))


def test_loaded_states_are_restored_before_the_others_start(make, loader, tmp_path):
    from zae_engine.trainer.addons import StateManagerAddon

    cls = Classifier.add_on(StateManagerAddon)
    make(cls, save_path=str(tmp_path), callbacks=Reading()).run(1, loader)
    loaded = make(cls, save_path=str(tmp_path), callbacks=Reading())
    loaded.load_state()
    loaded.run(1, loader)
    [reading] = [callback for callback in loaded.callbacks if isinstance(callback, Reading)]
    assert reading.started_with == ["state"]


def test_it_is_the_first_callback_and_there_only_if_others_are(make, loader):
    trainer = make()
    trainer.run(1, loader)
    assert not [c for c in trainer.lightning_trainer.callbacks if isinstance(c, EpochResultsCallback)]
    trainer.callbacks.append(Reading())
    trainer.run(1, loader)
    assert isinstance(trainer.lightning_trainer.callbacks[0], EpochResultsCallback)


class Bar(Callback):
    """Reads the metrics of the progress bar after each batch."""

    def __init__(self):
        self.read = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.read.append(dict(trainer.progress_bar_metrics))


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_bar_gets_the_running_means_at_intervals_and_at_the_end(make, loader, seconds):
    bar = Bar()
    trainer = make(callbacks=[ProgressBarMetrics(seconds), bar])
    trainer.run(1, loader)
    losses = [float(loss) for loss in trainer.get_loss_history()]
    means = [sum(losses[: n + 1]) / (n + 1) for n in range(3)]
    expected = means if seconds == 0.0 else [means[0], means[0], means[2]]
    assert [row["loss"] for row in bar.read] == pytest.approx(expected, rel=1e-5)
