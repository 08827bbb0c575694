"""Value buffer: values come out unchanged, and waiting values take little memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zae_engine.trainer.logs import value_buffer as module
from zae_engine.trainer.logs.reductions import mean
from zae_engine.trainer.logs.value_buffer import CHUNK, ValueBuffer, detach_copy, owns_storage

LENGTHS = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5)


class Operations(TorchDispatchMode):
    """Counts what torch does."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function.overloadpacket))
        return function(*args, **(kwargs or {}))


@pytest.fixture(params=["here", "elsewhere"])
def place(request, monkeypatch):
    """Values on the CPU; and the path of values on another device, taken by tensors on the CPU all the same."""
    if request.param == "elsewhere":
        monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)
    return request.param


def filled(values):
    buffer = ValueBuffer()
    for value in values:
        buffer.append(detach_copy(value))
    return buffer


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_entries_are_the_values_as_tensors_of_their_own(place, length, dtype):
    values = [torch.tensor(i % 7).to(dtype) for i in range(length)]
    entries = filled(value.clone() for value in values).to_list()
    assert len(entries) == length
    assert type(entries) is list
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(values, entries, strict=True))
    assert all(entry.untyped_storage().nbytes() == entry.nbytes for entry in entries)


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_the_mean_is_numpys_mean_of_the_list_to_the_last_bit(place, length):
    values = list(torch.rand(length).unbind())
    expected = np.mean([value.item() for value in values], dtype=np.float32)
    assert mean(filled(values)) == np.mean(torch.stack(values).numpy()) == pytest.approx(expected, rel=1e-5)
    assert mean(filled(values)) == mean(filled(values).to_list())


def test_values_of_all_kinds_keep_their_order(place):
    values = [torch.rand(()), 0.5, "text", torch.rand(3), torch.rand(40, 2), None, torch.rand(1), {"a": 1}] * CHUNK
    for ours, theirs in zip(filled(values).to_list(), values, strict=True):
        assert torch.equal(ours, theirs) if isinstance(theirs, torch.Tensor) else ours is theirs


def test_gradients_are_not_kept(place):
    weight = torch.ones((), requires_grad=True)
    buffer = filled(weight * i for i in range(CHUNK + 3))
    assert not any(value.requires_grad for value in buffer.read_from(0))
    assert not any(value.requires_grad for value in buffer.to_list())


def test_a_tensor_on_the_cpu_that_changes_in_place_changes_in_the_log_as_upstream():
    running, views, parameter = torch.zeros(()), torch.zeros(2), torch.nn.Parameter(torch.zeros(()))
    buffer = [ValueBuffer() for _ in range(4)]
    for i in range(2 * CHUNK + 10):
        for one, value in zip(buffer, (running, views[0], parameter, parameter.data), strict=True):
            one.append(detach_copy(value))
        with torch.no_grad():
            for value in (running, views, parameter):
                value.fill_(i)
    assert all(set(map(float, one.to_list())) == {float(i)} for one in buffer)


def test_memory_of_numpy_that_changes_changes_in_the_log_too():
    array, buffer = np.zeros(1, np.float32), ValueBuffer()
    for i in range(CHUNK + 10):
        array[:] = i
        buffer.append(detach_copy(torch.from_numpy(array)))
    assert set(map(float, buffer.to_list())) == {float(i)}


def test_a_tensor_on_another_device_is_taken_as_it_is_at_that_moment(monkeypatch):
    monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)
    running, buffer = torch.zeros(()), ValueBuffer()
    for i in range(CHUNK + 10):
        running.fill_(i)
        buffer.append(detach_copy(running))
    assert list(map(float, buffer.to_list())) == list(range(CHUNK + 10))


def test_a_returned_list_grows_with_the_buffer(place):
    buffer = filled(torch.tensor(float(i)) for i in range(5))
    entries = buffer.to_list()
    buffer.append(detach_copy(torch.tensor(5.0, requires_grad=True)))
    assert list(map(float, entries)) == [0, 1, 2, 3, 4, 5]
    assert buffer.to_list() is entries
    assert not entries[-1].requires_grad
    assert len(buffer) == 6
    assert len(buffer.read_from(4)) == 2


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_truncated_and_windowed_like_a_list(place, length, read):
    values = [torch.tensor(float(i)) for i in range(2 * CHUNK + 7)]
    buffer = filled(values)
    if read:
        buffer.to_list()
    for start in (0, 3, CHUNK, CHUNK + 1, len(values), len(values) + 1):
        assert list(map(float, buffer.read_from(start))) == list(map(float, values[start:]))
    buffer.truncate(length)
    buffer.extend(values[:2])
    assert list(map(float, buffer.to_list())) == list(map(float, [*values[:length], *values[:2]]))
    assert len(buffer) == min(length, len(values)) + 2


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copied_with_all_values(copied, read):
    buffer = filled([*torch.rand(CHUNK + 5).unbind(), "text", 0.5])
    if read:
        buffer.to_list()
    twin = copied(buffer)
    assert len(twin) == len(buffer)
    assert (twin._entries is not None) == read
    assert list(map(str, twin.to_list())) == list(map(str, buffer.to_list()))


def test_a_pickled_history_takes_a_few_bytes_a_step():
    buffer = filled(torch.rand(()) for _ in range(20 * CHUNK))
    assert len(pickle.dumps(buffer)) < 20 * CHUNK * 4 * 1.1 + 20_000


def test_numbers_that_nobody_else_holds_are_packed():
    alone, view = torch.rand(()), torch.rand(2)
    twin = view.data  # shares the memory
    assert owns_storage(alone)
    assert not owns_storage(view)
    assert not owns_storage(twin)
    buffer = filled((torch.rand(4) * 2).mean() for _ in range(CHUNK + 1))
    assert isinstance(buffer._chunks[0], torch.Tensor)
    assert buffer._chunks[0].shape == (CHUNK,)


def test_nothing_is_fetched_from_a_device_until_it_is_read():
    values = [torch.empty((), device="meta") for _ in range(CHUNK - 1)]
    with Operations() as operations:
        buffer = filled(values)
    assert set(operations.names) == {"aten.clone", "aten.detach"}
    assert len(operations.names) == 2 * (CHUNK - 1)
    with pytest.raises(NotImplementedError):  # a meta tensor has nothing to fetch
        buffer.to_list()


def test_large_values_on_a_device_are_fetched_before_they_fill_it(monkeypatch):
    monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)
    buffer = ValueBuffer()
    for _ in range(5):
        buffer.append(torch.zeros(module.MAX_BYTES // 8))  # half of it
    assert len(buffer._waiting) < 5
    assert len(buffer) == 5


def test_weights_are_known_if_each_value_has_a_size():
    assert ValueBuffer([1.0, 2.0], [3, 4]).weights == [3, 4]
    assert ValueBuffer([1.0, 2.0], [3]).weights is None
    assert ValueBuffer([1.0]).weights is None
