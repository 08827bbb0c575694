"""Devices: nested values move to another device than the CPU; torch's meta device represents an accelerator."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from zae_engine.trainer.data import devices

META = torch.device("meta")
Pair = namedtuple("Pair", ["x", "y"])


@dataclass
class Sample:
    x: torch.Tensor
    name: str


def test_nested_containers_keep_their_kind_and_their_tensors_move():
    value = {"a": [torch.ones(1), "b"], "c": Pair(torch.ones(2), (torch.ones(3), 4)), "d": Sample(torch.ones(1), "n")}
    moved = devices.move_to_device(value, META)
    assert moved["a"][0].device == moved["c"].x.device == moved["c"].y[0].device == moved["d"].x.device == META
    assert type(moved["c"]) is Pair
    assert (moved["a"][1], moved["c"].y[1], moved["d"].name) == ("b", 4, "n")
    assert value["a"][0].device.type == "cpu"


def test_modules_and_things_with_to_are_moved():
    module = torch.nn.Linear(1, 1)
    assert devices.move_to_device(module, META) is module
    assert module.weight.device == META


def test_words_and_numbers_stay():
    assert devices.move_to_device("cpu", META) == "cpu"
    assert devices.move_to_device(3, META) == 3
    assert devices.move_to_device(None, META) is None


CPU = torch.device("cpu")


def test_one_device_stands_for_those_of_all_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices.local_rank_devices([CPU], 3, "torchrun") == [CPU] * 3
    assert devices.local_rank_devices([torch.device("cuda")], 2, "torchrun") == [
        torch.device("cuda:0"),
        torch.device("cuda:1"),
    ]
    chosen = [torch.device("cuda:3"), torch.device("cuda:1")]
    assert devices.local_rank_devices(chosen, 2, "slurm") == chosen


def test_a_list_that_does_not_fit_the_launcher_is_refused():
    with pytest.raises(ValueError, match="list of 2, but torchrun has started 3 processes"):
        devices.local_rank_devices([CPU] * 2, 3, "torchrun")
