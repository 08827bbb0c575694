"""Restricted unpickler: plain values come out, other classes and functions do not run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer.checkpoint.storage.restricted_unpickler import load_plain_pickle


class Custom:
    pass


def round_trip(value):
    return load_plain_pickle(pickle.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        {"lr": 0.1, "betas": (0.9, 0.999), "flags": [True, None], "name": "a"},
        OrderedDict(a=1),
        defaultdict(dict, {0: {"step": 1}}),
        {1, 2},
        1 + 2j,
        torch.float16,
        torch.Size([1, 2]),
        torch.device("cpu"),
    ],
)
def test_plain_values_come_out_equal(value):
    assert round_trip(value) == value


def test_tensors_and_parameters_come_out():
    values = {"a": torch.randn(2, 3), "b": torch.nn.Parameter(torch.ones(2)), "c": torch.tensor([True])}
    for key, value in round_trip(values).items():
        assert torch.equal(value, values[key])


def test_numpy_scalars_become_numbers():
    assert round_trip([np.float64(0.5), np.int32(3)]) == [0.5, 3]


@pytest.mark.parametrize("value", [Custom(), print, os.system, Custom, {"a": [Custom()]}])
def test_another_class_or_function_is_refused_by_name(value):
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for \w+(\.\w+)*, which no saved state needs"):
        round_trip(value)


def test_a_scheduler_chain_becomes_a_dictionary_without_its_optimizer():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    chain = SchedulerChain(WarmUpScheduler(optimizer, 2), CosineAnnealingScheduler(optimizer, 8))
    plain = round_trip({key: value for key, value in vars(chain).items() if key != "optimizer"})
    assert plain["total_iters"] == 10
    assert [scheduler["total_iters"] for scheduler in plain["schedulers"]] == [2, 8]
    assert all("optimizer" not in scheduler for scheduler in plain["schedulers"])


def test_an_object_that_occurs_twice_becomes_one_dictionary():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = WarmUpScheduler(optimizer, 2)
    first, second = round_trip([scheduler, scheduler])
    assert first is second


def test_a_memo_index_beyond_the_size_of_the_pickle_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="more memory than it can need"):
        load_plain_pickle(b"\x80\x02}r\xff\xff\xff\x0f.")
