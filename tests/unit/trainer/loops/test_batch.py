"""Moving batches and values between devices, and what a batch looks like to a step."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.loops import batch as steps


@pytest.fixture
def trainer(make):
    return make()


Pair = namedtuple("Pair", ["x", "y"])
X, Y = torch.ones(2, 3), torch.zeros(2)


@pytest.mark.parametrize(
    ("batch", "kind"),
    [
        ({"x": X, "y": Y}, dict),
        (OrderedDict(x=X, y=Y), dict),
        (UserDict(x=X, y=Y), dict),
        ({1: X, 2: Y}, dict),
        ([X, Y], tuple),
        ((X, Y), tuple),
        (Pair(X, Y), tuple),
        (X, tuple),
        ([X], torch.Tensor),
        (X[:1], torch.Tensor),
        (["name"], str),
        ({}, dict),
    ],
)
def test_kind_of_batch_that_the_step_receives(trainer, batch, kind):
    assert type(steps.to_device(trainer, batch)) is kind


def test_values_without_a_device_are_passed_on(trainer):
    thing, inner = object(), [X, "a"]
    moved = steps.to_device(trainer, {"x": X, "thing": thing, "inner": inner, "none": None})
    assert moved["thing"] is thing
    assert moved["inner"] is inner
    assert moved["none"] is None


def test_own_way_of_moving_is_honoured(make, loader):
    class Scaled(Classifier):
        def _to_device(self, *args, **kwargs):
            moved = super()._to_device(*args, **kwargs)
            return (moved[0] * 0, moved[1]) if isinstance(moved, tuple) and len(moved) == 2 else moved

        def train_step(self, batch):
            assert not batch[0].any()
            return super().train_step(batch)

    make(Scaled).run(1, loader)


def test_to_cpu_detaches_tensors_and_leaves_the_rest(trainer):
    value = torch.ones(2, requires_grad=True)
    first, second = trainer._to_cpu(value * 2, "a")
    assert not first.requires_grad
    assert second == "a"
    assert trainer._to_cpu(3) == 3


@dataclass
class Pair:
    x: torch.Tensor
    y: torch.Tensor


class Graph:
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def to(self, device):
        return self


class Opaque:
    def to(self, device):
        return self


ROW = torch.ones(2)


@pytest.mark.parametrize(
    "batch", [Pair(ROW, ROW), Graph(("x", ROW), ("y", ROW)), Opaque()], ids=lambda value: type(value).__name__
)
def test_objects_that_do_not_iterate_into_tensors_are_whole(batch):
    assert steps.is_whole(batch)


@pytest.mark.parametrize(
    "batch",
    [[ROW, ROW], (ROW, 1), ROW, Graph(ROW, ROW), iter([ROW]), namedtuple("Named", "x")(ROW), {ROW}],
    ids=lambda value: type(value).__name__,
)
def test_what_0_7_6_unpacks_is_not_whole(batch):
    assert not steps.is_whole(batch)
