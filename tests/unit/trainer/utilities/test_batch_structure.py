"""Batch structure: batches in words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zae_engine.trainer.utilities.batch_structure import batch_structure

X, Y = torch.zeros(32, 13, dtype=torch.float64), torch.zeros(32, dtype=torch.int64)


class Refusing:
    dtype = "x"

    @property
    def shape(self):
        raise RuntimeError("not yet")


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ((X, Y), "tuple of Tensor[32, 13] float64, Tensor[32] int64"),
        (X, "Tensor[32, 13] float64"),
        ({"x": X, "y": (Y, Y)}, "dict of x: Tensor[32, 13] float64, y: (tuple of 2 x Tensor[32] int64)"),
        (tuple(X), "tuple of 32 x Tensor[13] float64"),
        ([np.zeros((2, 3), dtype="float32"), 1, "a"], "list of ndarray[2, 3] float32, int, str"),
        ((), "empty tuple"),
        ([[[[[1]]]]], "list of (list of (list of (list of 1)))"),
        (SimpleNamespace(x=1), "SimpleNamespace"),
        (None, "NoneType"),
        (torch.zeros(2, device="meta"), "Tensor[2] float32 meta"),
        (Refusing(), "Refusing"),
    ],
)
def test_in_words(batch, text):
    assert batch_structure(batch) == text


def test_many_parts_are_cut():
    text = batch_structure({f"part{i}": i for i in range(100)})
    assert text.startswith("dict of part0: int, part1: int")
    assert text.endswith("part7: int, …")
