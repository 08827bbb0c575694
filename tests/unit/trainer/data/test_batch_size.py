"""Batch size: what Lightning finds is found, and a step may say otherwise."""

from __future__ import annotations

import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.data import extract_batch_size

from zae_engine.trainer.data.batch_size import batch_size_of, checked_size

Pair = namedtuple("Pair", "x y")


@dataclass
class Graph:
    name: str
    nodes: torch.Tensor


@pytest.mark.parametrize(
    "batch",
    [
        torch.ones(5, 3),
        torch.tensor(2.0),
        (torch.ones(4, 3), torch.ones(4)),
        [[], {"a": {"b": torch.ones(3)}}],
        {"text": "ab", "x": torch.ones(6, 2)},
        Pair(torch.ones(7), None),
        Graph("g", torch.ones(8, 2)),
        (["a", "b"], [torch.ones(2, 2), torch.ones(2)]),
        (torch.ones(3), torch.ones(5)),
        (torch.tensor(1.0), torch.ones(5)),
    ],
)
def test_the_size_is_the_one_that_lightning_finds(batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert batch_size_of(batch)[0] == extract_batch_size(batch)


def test_tensors_of_different_lengths_are_ambiguous():
    assert batch_size_of((torch.ones(3), torch.ones(5))) == (3, True)
    assert batch_size_of((torch.ones(3, 2), "text", None, torch.ones(3))) == (3, False)


class Refuses:
    def __iter__(self):
        raise RuntimeError("no iteration")


@pytest.mark.parametrize("batch", [None, "text", b"text", 3, [1, 2], Refuses(), Graph, iter([torch.ones(3)])])
def test_a_batch_without_a_tensor_has_no_size(batch):
    assert batch_size_of(batch) == (None, False)


def test_an_iterator_is_not_used_up():
    batch = iter([torch.ones(3)])
    batch_size_of(batch)
    assert len(list(batch)) == 1


def test_arrays_count_as_tensors():
    assert batch_size_of((np.ones((4, 2)), np.ones(4))) == (4, False)


@pytest.mark.parametrize("size", [None, 3, 2.5, 0, np.int64(3)])
def test_numbers_are_sizes(size):
    assert checked_size(size) == size


def test_a_tensor_is_a_size_that_is_not_read():
    size = torch.tensor(3)
    kept = checked_size(size)
    size += 1
    assert kept == 3


@pytest.mark.parametrize(
    ("size", "error"), [("3", TypeError), (True, TypeError), (-1, ValueError), (torch.ones(2), ValueError)]
)
def test_other_values_are_errors_that_name_the_key(size, error):
    with pytest.raises(error, match='"batch_size"'):
        checked_size(size)
