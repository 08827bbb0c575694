"""Monitor: a name and a direction, checked before a run."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from zae_engine.trainer.monitor import LOSS, Monitor


def plateau(mode="min", monitor=None):
    scheduler = ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1), mode)
    if monitor is not None:
        scheduler.monitor = monitor
    return scheduler


def test_the_loss_is_the_default_and_to_be_minimised():
    assert Monitor() == LOSS
    assert LOSS.worst == math.inf
    assert LOSS.is_better(1.0, LOSS.worst)
    assert not LOSS.is_better(1.0, 1.0)
    assert LOSS.find({"test_loss": 1.0}) is None
    assert str(LOSS) == "the loss"


def test_a_result_may_be_maximised():
    monitor = Monitor("test_acc", "max")
    assert monitor.worst == -math.inf
    assert monitor.is_better(0.0, monitor.worst)
    assert monitor.is_better(0.6, 0.5)
    assert not monitor.is_better(0.5, 0.5)
    assert monitor.find({"test_acc": 0.0}) == 0.0
    assert str(monitor) == "test_acc (max)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("monitor", [LOSS, Monitor("test_acc", "max")])
def test_nan_and_infinity_are_never_better(monitor, value):
    assert not monitor.is_better(value, monitor.worst)


def test_val_is_another_name_of_test():
    assert Monitor("val_acc", "max") == Monitor("test_acc", "max")
    assert not Monitor("val_acc").is_of_training
    assert Monitor("train_acc").is_of_training


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("test_acc", "maximum"), ValueError, '"min" and "max"'),
        ((None, "max"), ValueError, "needs a monitor"),
        ((3,), TypeError, "no name of a result"),
        (("acc",), ValueError, "Did you mean 'test_acc'"),
    ],
)
def test_what_is_no_monitor_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        Monitor(*arguments)


def test_a_missing_result_is_named_with_those_that_there_are():
    message = Monitor("test_f1").missing_message({"epoch": 1, "train_loss": 0.5, "test_loss": 0.5, "lr": 0.1})
    assert message == "monitor='test_f1' is not among the results of the epoch: test_loss, train_loss."
    assert "there are none" in Monitor("test_f1").missing_message({})


def test_a_result_of_validation_needs_one():
    with pytest.raises(ValueError, match=r"'test_acc' is a result of validation.*'train_acc'"):
        Monitor("test_acc").check_run(None, False, has_validation=False)
    Monitor("train_acc").check_run(None, False, has_validation=False)
    LOSS.check_run(StepLR(plateau().optimizer, 1), True, has_validation=False)


def test_a_plateau_scheduler_has_the_same_direction():
    with pytest.raises(ValueError, match="would receive the loss"):
        LOSS.check_run(plateau("max"), False, has_validation=True)
    with pytest.raises(ValueError, match=r'mode="min".*monitor_mode="max"'):
        Monitor("test_acc", "max").check_run(plateau("min"), False, has_validation=True)
    Monitor("test_acc", "max").check_run(plateau("max"), False, has_validation=True)
    Monitor("test_acc", "max").check_run(plateau("min", "test_loss"), False, has_validation=True)


def test_a_plateau_scheduler_that_steps_per_batch_names_what_it_receives():
    with pytest.raises(ValueError, match=r"scheduler\.monitor"):
        Monitor("test_acc", "max").check_run(plateau("max"), True, has_validation=True)
    Monitor("test_acc", "max").check_run(plateau("max", "acc"), True, has_validation=True)
    LOSS.check_run(plateau(), True, has_validation=True)


def test_it_can_be_pickled():
    monitor = Monitor("val_acc", "max")
    assert pickle.loads(pickle.dumps(monitor)) == monitor
