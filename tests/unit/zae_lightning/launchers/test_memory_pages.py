"""Memory pages: those of large blocks can be replaced, and mappings of files are found by their path."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest
import torch
from zae_lightning.launchers.memory_file import has_memory_files
from zae_lightning.launchers.memory_pages import MemoryMap, MemoryRange, _libc, move, replace_pages

pytestmark = pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux")
LARGE = 9_000_000


def range_of(tensor: torch.Tensor) -> MemoryRange:
    storage = tensor.untyped_storage()
    return MemoryRange(storage.data_ptr(), storage.nbytes(), storage.data_ptr())


@pytest.mark.skipif(_libc() is None, reason="only blocks of glibc are replaced")
@pytest.mark.parametrize("make", [torch.ones, torch.empty, torch.zeros, torch.rand])
def test_the_pages_of_a_large_tensor_can_be_replaced(make):
    tensor = make(LARGE)
    assert MemoryMap().can_replace(range_of(tensor))


@pytest.mark.skipif(_libc() is None, reason="only blocks of glibc are replaced")
def test_the_pages_of_a_part_of_an_array_can_be_replaced():
    array = np.ones(LARGE)
    start = array.ctypes.data
    assert MemoryMap().can_replace(MemoryRange(start + 800, 4_000_000, start))
    assert not MemoryMap().can_replace(MemoryRange(start, array.nbytes + mmap.PAGESIZE, start))


def test_other_memory_stays_as_it_is(tmp_path):
    small, shared = torch.ones(1000), torch.ones(LARGE).share_memory_()
    array = np.ones(LARGE)
    mapped = np.memmap(tmp_path / "file", np.uint8, "w+", shape=LARGE)
    copy_on_write = np.memmap(tmp_path / "file", np.uint8, "c")
    memory = MemoryMap()
    assert not memory.can_replace(range_of(small))
    assert not memory.can_replace(range_of(shared))
    for other in (mapped, copy_on_write):
        assert not memory.can_replace(MemoryRange(other.ctypes.data, other.nbytes, other.ctypes.data))
    inside = array.ctypes.data + 16 * 1000  # where malloc has written no size
    assert not memory.can_replace(MemoryRange(inside, 4_000_000, inside))


def test_the_file_of_a_shared_mapping_is_found_by_its_path_and_offset(tmp_path):
    path = tmp_path / "a file with spaces"
    array = np.memmap(path, np.uint8, "w+", shape=3 * mmap.PAGESIZE, offset=100)
    start = array.ctypes.data
    assert MemoryMap().file_of(MemoryRange(start + 5000, 4000, start)) == (str(path), 5100)
    assert MemoryMap().file_of(MemoryRange(start, array.nbytes + mmap.PAGESIZE, start)) is None


def test_the_file_of_other_memory_is_not_found(tmp_path):
    (tmp_path / "file").write_bytes(bytes(LARGE))
    removed = np.memmap(tmp_path / "file", np.uint8, "r")
    os.remove(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"another file of this name")
    (tmp_path / "other").write_bytes(bytes(LARGE))
    private = np.memmap(tmp_path / "other", np.uint8, "c")  # may differ from the file
    anonymous = np.ones(LARGE)
    for array in (removed, private, anonymous):
        start = array.ctypes.data
        assert MemoryMap().file_of(MemoryRange(start, array.nbytes, start)) is None


def test_bytes_are_moved():
    source, target = np.arange(1000), np.zeros(1000, dtype=np.int64)
    move(source.ctypes.data, target.ctypes.data, source.nbytes)
    assert (source == target).all()


@pytest.mark.skipif(_libc() is None, reason="only blocks of glibc are replaced")
def test_replaced_pages_keep_address_and_values_and_do_not_write_to_the_file():
    tensor = torch.arange(LARGE)
    page = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // page) * page
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 4 * page)
    with mmap.mmap(descriptor, 4 * page) as file:
        target = np.frombuffer(file, np.int64)
        move(start, target.ctypes.data, 4 * page)
        replace_pages(start + page, start + 3 * page, descriptor, page, target.ctypes.data + page)
        assert torch.equal(tensor, torch.arange(LARGE))
        tensor.fill_(-1)
        assert (target >= 0).all()
        del target
    os.close(descriptor)
    assert (tensor == -1).all()


@pytest.mark.skipif(_libc() is None, reason="only blocks of glibc are replaced")
def test_pages_that_cannot_be_replaced_keep_their_values():
    tensor = torch.arange(LARGE)
    page = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // page) * page
    copy = np.zeros(page // 8, dtype=np.int64)
    move(start, copy.ctypes.data, page)
    reader, writer = os.pipe()  # cannot be mapped
    with pytest.raises(OSError, match=r"No such device|Permission denied"):
        replace_pages(start, start + page, reader, 0, copy.ctypes.data)
    os.close(reader)
    os.close(writer)
    assert torch.equal(tensor, torch.arange(LARGE))
