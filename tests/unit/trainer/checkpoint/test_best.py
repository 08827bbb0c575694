"""Best epoch: what `check_better` receives and compares."""

from __future__ import annotations

import math

import pytest

from tests.conftest import Classifier
from zae_engine.trainer.checkpoint.best import adopt_best, check_epoch, compared_value, is_best_validation
from zae_engine.trainer.epoch_summary import EpochSummary


def summary(loss=0.5, **results):
    return EpochSummary(record={"epoch": 1, "train_loss": 0.7, **results}, loss=loss, plateau=True)


class Notes(Classifier):
    def check_better(self, cur_epoch, cur_loss):
        self.seen = (cur_epoch, cur_loss, compared_value(self, cur_loss))
        return super().check_better(cur_epoch, cur_loss)


def test_check_better_receives_the_loss_and_compares_what_is_monitored(make):
    trainer = make(Notes, monitor="val_acc", monitor_mode="max")
    assert check_epoch(trainer, 0, summary(test_acc=0.25)) is True
    assert trainer.seen == (0, 0.5, 0.25)
    assert trainer.loss_buffer == 0.25
    assert check_epoch(trainer, 1, summary(loss=0.1, test_acc=0.2)) is False
    assert trainer.weight_buffer["epoch"] == [0]


def test_without_a_monitor_the_loss_is_compared(make):
    trainer = make(Notes)
    assert check_epoch(trainer, 0, summary(test_acc=0.25))
    assert trainer.seen == (0, 0.5, 0.5)


def test_a_call_by_hand_compares_its_argument(make):
    trainer = make(monitor="test_acc", monitor_mode="max")
    assert trainer.check_better(0, 0.5)
    assert trainer.check_better(1, 0.75)
    assert not trainer.check_better(2, 0.5)
    assert trainer.loss_buffer == 0.75


def test_a_result_that_no_epoch_has_is_an_error_and_one_that_is_missing_later_a_warning(make):
    trainer = make(monitor="test_acc", monitor_mode="max")
    with pytest.raises(ValueError, match="'test_acc' is not among the results of the epoch: test_f1, train_loss"):
        check_epoch(trainer, 0, summary(test_f1=1.0))
    trainer.history.add({"test_acc": 0.5})
    with pytest.warns(UserWarning, match="does not count as better"):
        assert check_epoch(trainer, 1, summary(test_f1=1.0)) is False
    assert trainer._zae_state.run.monitored is None


@pytest.mark.parametrize(
    ("settings", "results", "expected"),
    [
        ({}, {"test_loss": 1.0}, True),
        ({}, {"test_loss": math.nan}, False),
        ({}, {}, False),
        ({"monitor": "test_acc", "monitor_mode": "max"}, {"test_acc": 0.5}, True),
        ({"monitor": "test_acc", "monitor_mode": "max"}, {"test_loss": 0.5}, False),
        ({"monitor": "train_loss"}, {"test_loss": 0.5}, True),
    ],
)
def test_a_validation_is_the_best_by_what_is_known_of_it(make, settings, results, expected):
    assert is_best_validation(make(**settings), results) is expected


def test_the_best_value_of_a_state_counts_if_it_is_of_the_same_monitor(make):
    assert adopt_best(make(), 0.5, None) == 0.5
    assert adopt_best(make(), 0.5, {"name": None, "mode": "min"}) == 0.5
    trainer = make(monitor="val_acc", monitor_mode="max")
    assert adopt_best(trainer, 0.5, {"name": "test_acc", "mode": "max"}) == 0.5
    with pytest.warns(UserWarning, match=r"by the loss, this trainer chooses by test_acc \(max\)"):
        assert adopt_best(trainer, 0.5, None) == -math.inf
