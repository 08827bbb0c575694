"""Encoding: values become what `torch.load(weights_only=True)` reads, and come back as they were."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from zae_engine.trainer.checkpoint.encoding import decode, encode

Pair = namedtuple("Pair", ["x", "y"])


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    pass


def through_a_file(value, folder):
    torch.save(encode(value), folder / "file")
    return decode(torch.load(folder / "file", weights_only=True))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 0.5, 1 + 2j, "text", b"bytes", b"", float("inf"), 10**30),
        *([1, [2.0, "a"]], (1, (2, 3)), {"a": {"b": 1}}, {(1, "a"): 2, None: 3, 4: 5}, {1, 2}, set(), [], {}),
        *(torch.device("cpu"), torch.bfloat16, torch.Size([2, 3])),
    ],
)
def test_plain_values_come_back_equal(value, tmp_path):
    assert through_a_file(value, tmp_path) == value


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64", "U3", ">i4"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_come_back_writable_with_dtype_and_shape(dtype, shape, tmp_path):
    array = np.ones(shape).astype(dtype)
    back = through_a_file(array, tmp_path)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    back.fill(0)


def test_tensors_come_back_detached(tmp_path):
    tensor = torch.ones(2, requires_grad=True) * 2
    back = through_a_file({"a": [tensor]}, tmp_path)["a"][0]
    assert torch.equal(back, tensor.detach())
    assert not back.requires_grad


def test_encoding_does_not_copy_a_tensor_on_the_cpu():
    tensor = torch.ones(2)
    assert encode(tensor).data_ptr() == tensor.data_ptr()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Level.HIGH, 3),
        (Text("a"), "a"),
        (Path("a") / "b", str(Path("a") / "b")),
        (OrderedDict(a=1), {"a": 1}),
        (Pair(1, 2), (1, 2)),
        (frozenset({1}), {1}),
    ],
)
def test_subclasses_come_back_as_the_plain_type(value, expected, tmp_path):
    back = through_a_file(value, tmp_path)
    assert back == expected
    assert type(back) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        lambda: None,
        {"a": [print]},
        {object(): 1},
        {b"": 1},
        np.array([object()]),
        np.zeros(1, [("a", int)]),
        iter([]),
    ],
)
def test_other_objects_are_refused(value):
    with pytest.raises(TypeError, match="no plain value"):
        encode(value)


def test_an_array_of_objects_is_not_decoded():
    with pytest.raises(ValueError, match="array of objects"):
        decode({"__zae__": "array", "dtype": "O", "shape": [1], "data": b"x" * 8})


def test_an_unknown_tag_is_refused():
    with pytest.raises(ValueError, match="'future' is no known kind of value"):
        decode({"__zae__": "future", "data": 1})
