"""Memory file: the data of tensors and arrays, which lie in memory once for all processes of a run.

The parent process writes the data to a file in memory that has no name (``memfd_create``): nothing is left behind when
processes are killed, and the size of ``/dev/shm`` does not matter. It replaces its own pages by those of the file, so
that it holds no second copy; the addresses of its tensors and arrays stay. The workers map the file.

All mappings are private. A process that writes to a page gets a copy of that page, and no other process sees the
change. Data that are mapped from a file on disk, such as a `numpy.memmap`, are not copied: the workers map that file.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .memory_pages import MEMORY_FILE_NAME, MemoryMap, MemoryRange, move, replace_pages

MIN_BYTES = 4096
"""Smaller tensors and arrays are pickled."""
_MAX_REPLACED = 4096  # a replaced range is up to three mappings, and a process may have 65,530
_BLOCK_BYTES = 32 << 20
_ALIGNMENT = 64
_MAP_NORESERVE = 0x4000 if os.name == "posix" else 0  # a file larger than the memory can be mapped


def has_memory_files() -> bool:
    """Whether this system has files in memory without a name: Linux has."""
    return hasattr(os, "memfd_create") and os.path.exists("/proc/self/maps")


@dataclass(frozen=True)
class Place:
    """Where a process finds the bytes of a range.

    Attributes
    ----------
    path : str or None
        A file on disk; None for the memory file.
    offset, n_bytes : int
        The bytes of the file.
    """

    path: str | None
    offset: int
    n_bytes: int


class MemoryRanges:
    """The bytes of the tensors and arrays that are to be sent."""

    def __init__(self) -> None:
        self._indices: dict[tuple[int, int], int] = {}
        self._ranges: list[MemoryRange] = []
        self._owners: list[Any] = []

    def add(self, address: int, n_bytes: int, block: int, owner: Any) -> int:
        """Add bytes, and return their index.

        Parameters
        ----------
        address, n_bytes : int
            The bytes; the same ones again get the same index.
        block : int
            The address of the memory block that they are a part of.
        owner : Any
            An object that keeps the bytes alive.
        """
        index = self._indices.setdefault((address, n_bytes), len(self._ranges))
        if index == len(self._ranges):
            self._ranges.append(MemoryRange(address, n_bytes, block))
            self._owners.append(owner)
        return index

    def write(self) -> MemoryFile:
        """Write the bytes to a memory file.

        Another thread must not write to the tensors and arrays meanwhile.

        Raises
        ------
        OSError
            If there is not enough memory, or the system refuses. All tensors and arrays have their data in any case.
        """
        memory = MemoryMap()
        on_disk = [memory.file_of(source) for source in self._ranges]
        to_write = [source for source, found in zip(self._ranges, on_disk, strict=True) if found is None]
        largest = sorted(to_write, key=lambda source: -source.n_bytes)[:_MAX_REPLACED]
        replaced = {source for source in largest if memory.can_replace(source)}
        places, end = [], 0
        for source, found in zip(self._ranges, on_disk, strict=True):
            if found is not None:
                places.append(Place(found[0], found[1], source.n_bytes))
                continue
            unit = mmap.PAGESIZE if source in replaced else _ALIGNMENT
            rest = source.address % mmap.PAGESIZE if source in replaced else 0
            start = end + (rest - end) % unit
            places.append(Place(None, start, source.n_bytes))
            end = start + source.n_bytes
        if not to_write:
            return MemoryFile(None, places)
        descriptor = os.memfd_create(MEMORY_FILE_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, end)
            with mmap.mmap(descriptor, end) as target:
                first = ctypes.c_char.from_buffer(target)
                address = ctypes.addressof(first)
                try:
                    for source, place in zip(self._ranges, places, strict=True):
                        if place.path is None:
                            _write(source, place.offset, descriptor, address, source in replaced)
                finally:
                    del first  # without it the mapping cannot be closed
            _seal(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return MemoryFile(descriptor, places)


class MemoryFile:
    """The file that a parent process has written, for `MappedMemory` in other processes.

    Attributes
    ----------
    descriptor : int or None
        The file descriptor; None if all bytes are in files on disk.
    places : list of Place
        Where the bytes of each range are, by index.
    """

    def __init__(self, descriptor: int | None, places: list[Place]) -> None:
        self.descriptor, self.places = descriptor, places

    def close(self) -> None:
        """Close the file; its memory lives as long as a process maps it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class MappedMemory:
    """The bytes of a `MemoryFile` in another process; writing to them changes a copy of the page.

    Parameters
    ----------
    descriptor, places
        The attributes of the file. The descriptor can be closed afterwards.
    """

    def __init__(self, descriptor: int | None, places: Sequence[Place]) -> None:
        self._places = places
        self._files: dict[str | None, mmap.mmap] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}
        if descriptor is not None:
            self._files[None] = _map_privately(descriptor)

    def buffer(self, index: int) -> memoryview:
        """Return the bytes of a range."""
        place = self._places[index]
        if place.path not in self._files:
            assert place.path is not None
            descriptor = os.open(place.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                self._files[place.path] = _map_privately(descriptor)
            finally:
                os.close(descriptor)
        return memoryview(self._files[place.path])[place.offset : place.offset + place.n_bytes]

    def storage(self, index: int) -> torch.UntypedStorage:
        """Return a storage on the bytes of a range, the same one for each call."""
        if index not in self._storages:
            self._storages[index] = torch.frombuffer(self.buffer(index), dtype=torch.uint8).untyped_storage()
        return self._storages[index]


def _map_privately(descriptor: int) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
    return mmap.mmap(descriptor, os.fstat(descriptor).st_size, flags, mmap.PROT_READ | mmap.PROT_WRITE)


def _write(source: MemoryRange, offset: int, descriptor: int, target: int, replaced: bool) -> None:
    """Copy a range to an offset of the file, block by block, and replace the pages of each block."""
    page_start = -(-source.address // mmap.PAGESIZE) * mmap.PAGESIZE
    for start in range(0, source.n_bytes, _BLOCK_BYTES):
        n_bytes = min(_BLOCK_BYTES, source.n_bytes - start)
        os.posix_fallocate(descriptor, offset + start, n_bytes)  # writing without memory would end the process
        move(source.address + start, target + offset + start, n_bytes)
        page_end = (source.address + start + n_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if replaced and page_end > page_start:
            page_offset = offset + page_start - source.address
            replace_pages(page_start, page_end, descriptor, page_offset, target + page_offset)
            page_start = page_end


def _seal(descriptor: int) -> None:
    """Make the content of the file final, for all processes."""
    import fcntl  # missing on Windows

    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
