"""Memory file: the bytes lie in memory once, keep their address, and are private in each process that maps them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from zae_lightning.launchers.memory_file import MappedMemory, MemoryRanges, has_memory_files

pytestmark = pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux")
N = 10_000_000


def written(*tensors: torch.Tensor) -> MappedMemory:
    """Write the memory of tensors to a file, and map it."""
    ranges = MemoryRanges()
    for tensor in tensors:
        storage = tensor.untyped_storage()
        ranges.add(storage.data_ptr(), storage.nbytes(), storage.data_ptr(), tensor)
    file = ranges.write()
    memory = MappedMemory(file.descriptor, file.places)
    file.close()
    return memory


def anonymous_megabytes() -> float:
    """Return the memory that belongs to this process alone, and to no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) / 1000


def test_the_bytes_arrive():
    tensors = [torch.randn(1500), torch.arange(N), torch.randn(2000, dtype=torch.complex64)]
    memory = written(*tensors)
    for index, tensor in enumerate(tensors):
        assert bytes(memory.buffer(index)) == tensor.numpy().tobytes()
        assert memory.storage(index).data_ptr() % 64 == 0
        assert memory.storage(index) is memory.storage(index)


def test_the_same_bytes_are_written_once():
    tensor = torch.arange(N)
    ranges = MemoryRanges()
    assert [ranges.add(tensor.data_ptr(), 8 * N, tensor.data_ptr(), tensor) for _ in range(2)] == [0, 0]
    file = ranges.write()
    assert len(file.places) == 1
    file.close()


def test_the_caller_keeps_its_tensor_and_gives_its_memory_to_the_file():
    tensor = torch.arange(N)
    address, before = tensor.data_ptr(), anonymous_megabytes()
    memory = written(tensor)
    assert before - anonymous_megabytes() > 0.9 * tensor.nbytes / 1e6
    assert tensor.data_ptr() == address
    assert not tensor.is_shared()
    assert torch.equal(tensor, torch.arange(N))
    assert bytes(memory.buffer(0)) == tensor.numpy().tobytes()


def test_what_one_side_writes_the_other_one_does_not_see():
    tensor = torch.arange(N)
    memory = written(tensor)
    there = torch.frombuffer(memory.buffer(0), dtype=torch.int64)
    there[: N // 2] = -1
    tensor[N // 2 :] = -2
    assert torch.equal(tensor[: N // 2], torch.arange(N // 2))
    assert torch.equal(there[N // 2 :], torch.arange(N // 2, N))


def test_memory_that_was_written_once_is_written_again_with_its_changes():
    tensor = torch.arange(N)
    first = written(tensor)
    tensor[::3] = 0
    expected = tensor.clone()
    before = anonymous_megabytes()
    second = written(tensor)
    assert before - anonymous_megabytes() > 0.9 * tensor.nbytes / 1e6
    assert torch.equal(torch.frombuffer(second.buffer(0), dtype=torch.int64), expected)
    assert torch.equal(tensor, expected)
    assert torch.equal(torch.frombuffer(first.buffer(0), dtype=torch.int64), torch.arange(N))


def n_mappings() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:zae-engine-data")


def test_the_memory_is_free_when_nobody_uses_it():
    tensor = torch.arange(N)
    gc.collect()
    before = n_mappings()
    memory = written(tensor)
    assert n_mappings() > before
    tensor.resize_(2 * N)  # moves it elsewhere
    assert torch.equal(tensor[:N], torch.arange(N))
    del tensor, memory
    gc.collect()
    assert n_mappings() == before


def test_an_array_can_grow_afterwards():
    array = np.arange(N)
    ranges = MemoryRanges()
    ranges.add(array.ctypes.data, array.nbytes, array.ctypes.data, array)
    ranges.write().close()
    del ranges
    array.resize(2 * N, refcheck=False)
    assert (array[:N] == np.arange(N)).all()
    assert not array[N:].any()


def test_data_in_a_file_on_disk_are_not_copied(tmp_path):
    array = np.memmap(tmp_path / "file", np.uint8, "w+", shape=N)
    array[:] = 3
    ranges = MemoryRanges()
    ranges.add(array.ctypes.data + 10, N - 10, array.ctypes.data, array)
    file = ranges.write()
    assert file.descriptor is None
    memory = MappedMemory(None, file.places)
    view = np.frombuffer(memory.buffer(0), np.uint8)
    assert len(view) == N - 10
    assert (view == 3).all()
    view[:] = 4
    assert (array == 3).all()
    array[:] = 5
    assert (view == 4).all()


def test_no_process_can_change_the_file():
    ranges = MemoryRanges()
    tensor = torch.arange(N)
    ranges.add(tensor.data_ptr(), tensor.nbytes, tensor.data_ptr(), tensor)
    file = ranges.write()
    for change in (lambda: os.write(file.descriptor, b"x"), lambda: os.ftruncate(file.descriptor, 0)):
        with pytest.raises(PermissionError):
            change()
    file.close()
    file.close()  # a second time is no error


def test_without_memory_for_the_file_there_is_an_error_and_the_data_stay():
    import resource

    tensors = [torch.arange(N), torch.arange(N)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (N, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            written(*tensors)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all(torch.equal(tensor, torch.arange(N)) for tensor in tensors)
