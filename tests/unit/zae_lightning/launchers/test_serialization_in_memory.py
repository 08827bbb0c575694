"""Serialization with a memory file: large data arrive as they are, without being copied."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zae_lightning.launchers.memory_file import MappedMemory, MemoryRanges, has_memory_files
from zae_lightning.launchers.serialization import deserialize, serialize

pytestmark = [
    pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux"),
    pytest.mark.filterwarnings("ignore:.*quantize:UserWarning", "ignore:TypedStorage", "ignore:The given NumPy array"),
]
N = 40_000


class Subclass(torch.Tensor):
    """A tensor of a class of the user's own."""


def send(value):
    """Return what arrives, the number of ranges that are in the memory file or on disk, and the size of the bytes."""
    ranges = MemoryRanges()
    data = serialize(value, {}, ranges)
    file = ranges.write()
    memory = MappedMemory(file.descriptor, file.places)
    file.close()
    return deserialize(data, memory=memory), len(file.places), len(data)


def numbers(dtype=torch.float32):
    return torch.arange(N).remainder(100).to(dtype)


PLAIN = {
    **{
        str(dtype): lambda dtype=dtype: numbers(dtype)
        for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool, torch.complex64)
    },
    "float8": lambda: numbers().to(torch.float8_e4m3fn),
    "transposed": lambda: numbers().view(200, 200).t(),
    "sliced": lambda: numbers().view(200, 200)[3:-1:7, ::2],
    "expanded": lambda: numbers()[:, None].expand(N, 100),
    "a row": lambda: numbers().view(200, 200)[7],
    "empty view": lambda: numbers()[:0],
    "channels last": lambda: numbers().view(4, 10, 10, 100).contiguous(memory_format=torch.channels_last),
    "of an array": lambda: torch.from_numpy(np.arange(N)),
    "of a large array": lambda: torch.from_numpy(np.arange(50 * N)[N:]),
    "shared": lambda: numbers().share_memory_(),
    "detached": lambda: (numbers().requires_grad_() * 2).detach(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_tensor_arrives_as_it_is_and_is_not_copied(name):
    tensor = PLAIN[name]()
    address = tensor.data_ptr()
    arrived, n_ranges, n_bytes = send(tensor)
    assert (n_ranges, n_bytes < 4000) == (1, True)
    for attribute in ("shape", "dtype", "requires_grad", "is_leaf"):
        assert getattr(arrived, attribute) == getattr(tensor, attribute)
    assert (arrived.stride(), arrived.storage_offset()) == (tensor.stride(), tensor.storage_offset())
    assert torch.equal(arrived.float() if name == "float8" else arrived, tensor.float() if name == "float8" else tensor)
    assert tensor.data_ptr() == address


def parameter_like(tensor):
    tensor.note = "an attribute"
    return tensor


COPIED = {
    "a parameter": lambda: nn.Parameter(numbers()),
    "with gradients": lambda: numbers().requires_grad_(),
    "a subclass": lambda: numbers().as_subclass(Subclass),
    "with an attribute": lambda: parameter_like(numbers()),
    "conjugate": lambda: numbers(torch.complex64).conj(),
    "negative": lambda: numbers(torch.complex64).conj().imag,
    "quantized": lambda: torch.quantize_per_tensor(numbers(), 0.5, 0, torch.qint8),
    "sparse": lambda: numbers().view(200, 200).to_sparse(),
    "small": lambda: numbers()[:500].clone(),
    "without elements": lambda: torch.empty(0, 3),
    "a number": lambda: torch.tensor(3.0),
}


@pytest.mark.parametrize("name", COPIED)
def test_other_tensors_are_copied(name):
    tensor = COPIED[name]()
    arrived, n_ranges, _ = send([tensor, "after it"])
    assert (n_ranges, arrived[1]) == (0, "after it")
    assert type(arrived[0]) is type(tensor)
    assert arrived[0].requires_grad == tensor.requires_grad
    assert getattr(arrived[0], "note", None) == getattr(tensor, "note", None)
    assert torch.equal(*(t.dequantize() if t.is_quantized else t.to_dense() for t in (arrived[0], tensor)))


def test_tensors_that_share_memory_share_it_there():
    whole = numbers()
    (first, second, third, again), n_ranges, _ = send([whole, whole[10:], whole.view(200, 200).t(), whole])
    assert n_ranges == 1
    assert again is first
    first[10] = -1
    assert second[0] == -1
    assert third[10, 0] == -1
    assert whole[10] == 10


def test_what_training_writes_to_is_copied_with_all_that_shares_its_memory():
    model = nn.Sequential(nn.Linear(200, 200), nn.BatchNorm1d(2000))
    optimizer = torch.optim.Adam(model.parameters())
    model[0](torch.ones(1, 200)).sum().backward()
    optimizer.step()
    view, data = model[0].weight.detach()[:5], numbers()
    (arrived, _, there, there_data), n_ranges, _ = send([model, optimizer, view, data])
    assert n_ranges == 1
    assert torch.equal(there_data, data)
    arrived[0].weight.data.fill_(2.0)
    assert (there == 2.0).all()


def test_a_loader_in_a_trainers_attributes_arrives():
    data = TensorDataset(numbers().view(-1, 10), numbers()[: N // 10])
    loader, n_ranges, n_bytes = send(DataLoader(data, 400))
    assert (n_ranges, n_bytes < 4000) == (2, True)
    assert torch.equal(torch.cat([x for x, _ in loader]), data.tensors[0])


def read_only(array):
    array.flags.writeable = False
    return array


ARRAYS = {
    "floats": lambda: np.arange(N, dtype=np.float32),
    "rows": lambda: np.arange(N).reshape(200, 200)[10:],
    "Fortran order": lambda: np.asfortranarray(np.arange(N).reshape(200, 200)),
    "read-only": lambda: read_only(np.arange(N)),
    "structured": lambda: np.zeros(N, dtype=[("x", "f4"), ("y", "i2")]),
    "booleans": lambda: np.arange(N) % 3 == 0,
    "big-endian": lambda: np.arange(N, dtype=">i4"),
    "of a tensor": lambda: numbers().numpy(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_as_it_is_and_is_not_copied(name):
    array = ARRAYS[name]()
    arrived, n_ranges, n_bytes = send(array)
    assert (n_ranges, n_bytes < 4000) == (1, True)
    assert (arrived.dtype, arrived.shape, arrived.strides) == (array.dtype, array.shape, array.strides)
    assert arrived.flags.writeable == array.flags.writeable
    assert (arrived == array).all()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(N).reshape(200, 200)[:, ::3],
        np.array([{"a": 1}, "text", None] * 2000, dtype=object),
        np.arange(10),
        np.empty(0),
        np.datetime64("2020-01-01") + np.arange(N).view(np.timedelta64),
    ],
    ids=["not contiguous", "objects", "small", "empty", "dates"],
)
def test_every_other_array_arrives_too(array):
    arrived, _, _ = send({"array": array})
    assert arrived["array"].dtype == array.dtype
    assert (arrived["array"] == array).all()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_an_array_in_a_file_is_read_from_the_file(tmp_path, mode):
    np.arange(N).tofile(tmp_path / "array")
    array = np.memmap(tmp_path / "array", np.int64, mode, shape=(200, 200))
    (arrived, rows, tensor), _, n_bytes = send([array, array[5:], torch.from_numpy(np.asarray(array[7:]))])
    assert n_bytes < 4000
    assert isinstance(arrived, np.memmap)
    assert (arrived == np.arange(N).reshape(200, 200)).all()
    assert (rows == arrived[5:]).all()
    assert (tensor.numpy() == arrived[7:]).all()
    assert arrived.flags.writeable == (mode != "r")
    if mode != "r":
        arrived[:] = -1
        assert (array == np.arange(N).reshape(200, 200)).all()


def test_the_bytes_of_other_libraries_arrive():
    buffer = pickle.PickleBuffer(bytes(10_000))
    arrived, n_ranges, _ = send([buffer])
    assert (n_ranges, bytes(arrived[0])) == (1, bytes(10_000))
