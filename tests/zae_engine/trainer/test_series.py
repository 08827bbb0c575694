"""Series: what comes out is what went in, and what waits takes little memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zae_engine.trainer import series as series_module
from zae_engine.trainer.means import mean
from zae_engine.trainer.series import CHUNK, Series, is_alone, snapshot

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
        monkeypatch.setattr(series_module, "is_elsewhere", lambda tensor: True)
    return request.param


def filled(values):
    series = Series()
    for value in values:
        series.append(snapshot(value))
    return series


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_entries_are_the_values_as_tensors_of_their_own(place, length, dtype):
    values = [torch.tensor(i % 7).to(dtype) for i in range(length)]
    entries = filled(value.clone() for value in values).entries()
    assert len(entries) == length
    assert type(entries) is list
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(values, entries, strict=True))
    assert all(entry.untyped_storage().nbytes() == entry.nbytes for entry in entries)


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_the_mean_is_numpys_mean_of_the_list_to_the_last_bit(place, length):
    values = list(torch.rand(length).unbind())
    expected = np.mean([value.item() for value in values], dtype=np.float32)
    assert mean(filled(values)) == np.mean(torch.stack(values).numpy()) == pytest.approx(expected, rel=1e-5)
    assert mean(filled(values)) == mean(filled(values).entries())


def test_values_of_all_kinds_keep_their_order(place):
    values = [torch.rand(()), 0.5, "text", torch.rand(3), torch.rand(40, 2), None, torch.rand(1), {"a": 1}] * CHUNK
    for ours, theirs in zip(filled(values).entries(), values, strict=True):
        assert torch.equal(ours, theirs) if isinstance(theirs, torch.Tensor) else ours is theirs


def test_gradients_are_not_kept(place):
    weight = torch.ones((), requires_grad=True)
    series = filled(weight * i for i in range(CHUNK + 3))
    assert not any(value.requires_grad for value in series.window(0))
    assert not any(value.requires_grad for value in series.entries())


def test_a_tensor_on_the_cpu_that_changes_in_place_changes_in_the_log_as_upstream():
    running, views, parameter = torch.zeros(()), torch.zeros(2), torch.nn.Parameter(torch.zeros(()))
    series = [Series() for _ in range(4)]
    for i in range(2 * CHUNK + 10):
        for one, value in zip(series, (running, views[0], parameter, parameter.data), strict=True):
            one.append(snapshot(value))
        with torch.no_grad():
            for value in (running, views, parameter):
                value.fill_(i)
    assert all(set(map(float, one.entries())) == {float(i)} for one in series)


def test_memory_of_numpy_that_changes_changes_in_the_log_too():
    array, series = np.zeros(1, np.float32), Series()
    for i in range(CHUNK + 10):
        array[:] = i
        series.append(snapshot(torch.from_numpy(array)))
    assert set(map(float, series.entries())) == {float(i)}


def test_a_tensor_on_another_device_is_taken_as_it_is_at_that_moment(monkeypatch):
    monkeypatch.setattr(series_module, "is_elsewhere", lambda tensor: True)
    running, series = torch.zeros(()), Series()
    for i in range(CHUNK + 10):
        running.fill_(i)
        series.append(snapshot(running))
    assert list(map(float, series.entries())) == list(range(CHUNK + 10))


def test_entries_handed_out_grow_with_the_series(place):
    series = filled(torch.tensor(float(i)) for i in range(5))
    entries = series.entries()
    series.append(snapshot(torch.tensor(5.0, requires_grad=True)))
    assert list(map(float, entries)) == [0, 1, 2, 3, 4, 5]
    assert series.entries() is entries
    assert not entries[-1].requires_grad
    assert len(series) == 6
    assert len(series.window(4)) == 2


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_truncated_and_windowed_like_a_list(place, length, read):
    values = [torch.tensor(float(i)) for i in range(2 * CHUNK + 7)]
    series = filled(values)
    if read:
        series.entries()
    for start in (0, 3, CHUNK, CHUNK + 1, len(values), len(values) + 1):
        assert list(map(float, series.window(start))) == list(map(float, values[start:]))
    series.truncate(length)
    series.extend(values[:2])
    assert list(map(float, series.entries())) == list(map(float, [*values[:length], *values[:2]]))
    assert len(series) == min(length, len(values)) + 2


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copied_with_all_values(copied, read):
    series = filled([*torch.rand(CHUNK + 5).unbind(), "text", 0.5])
    if read:
        series.entries()
    twin = copied(series)
    assert len(twin) == len(series)
    assert (twin._entries is not None) == read
    assert list(map(str, twin.entries())) == list(map(str, series.entries()))


def test_a_pickled_history_takes_a_few_bytes_a_step():
    series = filled(torch.rand(()) for _ in range(20 * CHUNK))
    assert len(pickle.dumps(series)) < 20 * CHUNK * 4 * 1.1 + 20_000


def test_numbers_that_nobody_else_holds_are_packed():
    alone, view = torch.rand(()), torch.rand(2)
    twin = view.data  # shares the memory
    assert is_alone(alone)
    assert not is_alone(view)
    assert not is_alone(twin)
    series = filled((torch.rand(4) * 2).mean() for _ in range(CHUNK + 1))
    assert isinstance(series._chunks[0], torch.Tensor)
    assert series._chunks[0].shape == (CHUNK,)


def test_nothing_is_fetched_from_a_device_until_it_is_read():
    values = [torch.empty((), device="meta") for _ in range(CHUNK - 1)]
    with Operations() as operations:
        series = filled(values)
    assert set(operations.names) == {"aten.clone", "aten.detach"}
    assert len(operations.names) == 2 * (CHUNK - 1)
    with pytest.raises(NotImplementedError):  # a meta tensor has nothing to fetch
        series.entries()


def test_large_values_on_a_device_are_fetched_before_they_fill_it(monkeypatch):
    monkeypatch.setattr(series_module, "is_elsewhere", lambda tensor: True)
    series = Series()
    for _ in range(5):
        series.append(torch.zeros(series_module.MAX_BYTES // 8))  # half of it
    assert len(series._waiting) < 5
    assert len(series) == 5
