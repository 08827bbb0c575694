"""Epoch log: a dict of lists, in whichever way it is read."""

import copy
import json
import pickle
from collections import defaultdict

import pytest
import torch

from zae_engine.trainer.logs.epoch_log import EpochLog, are_weighted, peek, replace, resume, suspend

READINGS = {
    "item": lambda log: log["loss"],
    "get": lambda log: log.get("loss"),
    "items": lambda log: dict(log.items())["loss"],
    "values": lambda log: next(iter(log.values())),
    "dict": lambda log: dict(log)["loss"],
    "star": lambda log: {**log}["loss"],
    "call": lambda log: (lambda **kwargs: kwargs)(**log)["loss"],
    "union": lambda log: (log | {})["loss"],
    "union from the right": lambda log: ({} | log)["loss"],
    "update": lambda log: _updated({}, log)["loss"],
    "copy": lambda log: log.copy()["loss"],
    "shallow copy": lambda log: copy.copy(log)["loss"],
    "deep copy": lambda log: copy.deepcopy(log)["loss"],
    "pickle": lambda log: pickle.loads(pickle.dumps(log))["loss"],
    "setdefault": lambda log: log.setdefault("loss", []),
    "pop": lambda log: log.pop("loss"),
    "popitem": lambda log: log.popitem()[1],
    "json": lambda log: [torch.tensor(v) for v in json.loads(json.dumps(log, default=float))["loss"]],
    "comprehension": lambda log: next(log[key] for key in log),
}


def _updated(target, log):
    target.update(log)
    return target


@pytest.fixture
def log():
    log = EpochLog()
    for i in range(3):
        log.add("loss", torch.tensor(float(i)))
    return log


@pytest.mark.parametrize("reading", READINGS)
def test_it_reads_as_a_dict_of_lists(log, reading):
    values = READINGS[reading](log)
    assert type(values) is list
    assert list(map(float, values)) == [0, 1, 2]


def test_it_is_a_defaultdict_of_lists(log):
    assert isinstance(log, defaultdict)
    assert log.default_factory is list
    assert log["new"] == []
    assert set(log) == {"loss", "new"}
    assert len(log) == 2
    assert "loss" in log
    assert log == {"loss": [0, 1, 2], "new": []}
    assert log != {"loss": []}
    assert repr(EpochLog()) == repr(defaultdict(list)).replace("defaultdict", "EpochLog")


def test_reading_keys_and_peeking_does_not_fill_it(log):
    assert list(log) == ["loss"]
    assert list(log.keys()) == ["loss"]
    assert len(peek(log)["loss"]) == 3
    assert log
    assert not log._was_read


def test_a_list_that_was_read_is_filled_from_then_on(log):
    losses = log["loss"]
    log.add("loss", torch.tensor(3.0))
    log.add("other", 0.5)
    assert list(map(float, losses)) == [0, 1, 2, 3]
    assert log["loss"] is losses
    assert log["other"] == [0.5]


def test_clearing_does_not_change_lists_that_were_read(log):
    losses = log["loss"]
    log.clear()
    log.add("loss", torch.tensor(9.0))
    assert len(losses) == 3
    assert not log._was_read
    assert list(map(float, log["loss"])) == [9]


@pytest.mark.parametrize("read", [False, True])
def test_written_to_like_a_dict(log, read):
    if read:
        log.items()
    log["own"] = [1]
    log.update(more=[2])
    log |= {"most": [3]}
    del log["loss"]
    assert log == {"own": [1], "more": [2], "most": [3]}
    log.add("own", 5)
    assert log["own"] == [1, 5]


@pytest.mark.parametrize("kind", [EpochLog, lambda: defaultdict(list)])
@pytest.mark.parametrize("read", [False, True])
def test_a_suspended_log_is_restored(kind, read):
    log = kind()
    replace(log, {"loss": [1, 2]})
    if read:
        log.items()
    content = suspend(log)
    assert not log
    replace(log, {"between": [0]})
    resume(log, content)
    assert dict(log) == {"loss": [1, 2]}


@pytest.mark.parametrize("read", [False, True])
def test_copies_are_independent_logs(log, read):
    if read:
        log.items()
    for copied in (copy.deepcopy(log), pickle.loads(pickle.dumps(log))):
        assert type(copied) is EpochLog
        assert copied._was_read is False
        copied.add("loss", torch.tensor(7.0))
        assert list(map(float, copied["loss"])) == [0, 1, 2, 7]
    assert list(map(float, log["loss"])) == [0, 1, 2]


def weighted_log():
    log = EpochLog()
    log.add("loss", torch.tensor(1.0), 3)
    log.add("loss", torch.tensor(4.0), 1)
    return log


@pytest.mark.parametrize("read_first", [False, True])
def test_a_log_keeps_the_number_of_samples_behind_each_value(read_first):
    log = weighted_log()
    if read_first:
        dict(log)
    log.add("loss", torch.tensor(2.0), 2)
    assert peek(log)["loss"].weights == [3, 1, 2]
    assert are_weighted(log)
    for copied in (pickle.loads(pickle.dumps(log)), copy.deepcopy(log)):
        copied.add("loss", torch.tensor(0.0), 5)
        assert peek(copied)["loss"].weights == [3, 1, 2, 5]
    content = suspend(log)
    log.add("loss", torch.tensor(0.0), 7)
    assert peek(log)["loss"].weights == [7]
    resume(log, content)
    assert peek(log)["loss"].weights == [3, 1, 2]
    log.clear()
    assert not peek(log)


def test_a_value_that_was_appended_by_hand_has_no_number_of_samples():
    log = weighted_log()
    log["loss"].append(torch.tensor(1.0))
    assert peek(log)["loss"].weights is None
    assert not are_weighted(log)


def test_lists_of_values_replace_a_log_with_their_numbers_of_samples():
    log = weighted_log()
    replace(log, {"loss": [1.0], "acc": [2.0]}, {"loss": [5]})
    assert peek(log)["loss"].weights == [5]
    assert peek(log)["acc"].weights is None
    plain = {}
    replace(plain, {"loss": [1.0]}, {"loss": [5]})
    assert plain == {"loss": [1.0]}
