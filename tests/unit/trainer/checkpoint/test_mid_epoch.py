"""Mid-epoch state: position, log and metrics of an epoch come back, if the loader has a state."""

from __future__ import annotations

import pytest
import torch
import torchmetrics

from tests.conftest import Classifier
from zae_engine.trainer.checkpoint.mid_epoch import can_resume_mid_epoch, mid_epoch_state, resume_mid_epoch
from zae_engine.trainer.distributed.world import World


class Stateful(list):
    position = 0

    def load_state_dict(self, state):
        self.position = state["position"]


def pending(trainer, state):
    trainer._zae_state.records.pending_restore = {"underway": state}  # a key of the format on disk
    return trainer


def saved_state(make, folder, position):
    trainer = make(metrics={"mean": torchmetrics.MeanMetric()})
    trainer.logging({"loss": torch.tensor(1.0), "name": "a"})
    trainer.logging({"loss": torch.tensor(3.0), "name": "b"})
    trainer._zae_state.records.metrics.update("train", (torch.tensor(5.0),), torch.device("cpu"))
    torch.save(mid_epoch_state(trainer, 2, position, has_validated=True), folder / "state")
    return torch.load(folder / "state", weights_only=True)


def test_the_position_comes_back_with_log_and_metrics(make, tmp_path):
    state = saved_state(make, tmp_path, {"position": 2})
    trainer, loader = pending(make(metrics={"mean": torchmetrics.MeanMetric()}), state), Stateful([1, 2, 3])
    trainer.logging({"loss": torch.tensor(9.0)})  # of an epoch before
    assert can_resume_mid_epoch(trainer, loader)
    assert resume_mid_epoch(trainer, loader) == (2, False, True)
    assert loader.position == 2
    assert dict(trainer.log_train) == {"loss": [1.0, 3.0], "name": ["a", "b"]}
    assert trainer._zae_state.records.metrics.compute("train") == {"mean": 5.0}


def test_an_epoch_without_further_batches_needs_no_state_of_the_loader(make, tmp_path):
    trainer = pending(make(), saved_state(make, tmp_path, None))
    assert can_resume_mid_epoch(trainer, [1, 2])
    assert resume_mid_epoch(trainer, [1, 2]) == (2, True, True)


def test_a_loader_without_a_state_starts_a_whole_epoch(make, tmp_path):
    assert not can_resume_mid_epoch(pending(make(), saved_state(make, tmp_path, {"position": 1})), [1, 2])


def test_a_trainer_without_such_a_state_starts_a_whole_epoch(make):
    assert not can_resume_mid_epoch(make(), Stateful())
    assert not can_resume_mid_epoch(pending(make(), None), Stateful())


def test_several_processes_have_no_such_state(make):
    trainer = make()
    trainer._zae_state.process.world = World(0, 2, 0, 2)
    assert mid_epoch_state(trainer, 1, None, has_validated=False) is None


@pytest.mark.parametrize("where", ["position", "log"])
def test_a_value_that_a_file_cannot_hold_means_no_such_state(make, where):
    trainer: Classifier = make()
    if where == "log":
        trainer.log_train["odd"].append(object())
    position = object() if where == "position" else {"position": 1}
    assert mid_epoch_state(trainer, 1, position, has_validated=False) is None
