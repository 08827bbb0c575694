"""Memory pages: what this process has mapped at an address, and replacing its pages by those of a file."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

MEMORY_FILE_NAME = "zae-engine-data"
_MIN_REPLACED = 1 << 20
_MAP_FIXED = 0x10  # missing in Python's `mmap`; the number on all architectures of Linux that torch has builds for


@dataclass(frozen=True)
class MemoryRange:
    """Bytes in the memory of this process.

    Attributes
    ----------
    address, n_bytes : int
        The bytes.
    block : int
        The address that malloc has returned, if these bytes are part of a block of malloc.
    """

    address: int
    n_bytes: int
    block: int

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.address + self.n_bytes


@dataclass(frozen=True)
class _Mapping:
    start: int
    end: int
    permissions: str
    offset: int
    device: tuple[int, int]
    inode: int
    path: str

    @property
    def is_private_memory(self) -> bool:
        """Whether these are writable pages that no other process sees: anonymous ones, or those of a memory file."""
        is_anonymous = self.inode == 0 and (not self.path or self.path.startswith("[anon"))
        return self.permissions == "rw-p" and (is_anonymous or self.path.startswith(f"/memfd:{MEMORY_FILE_NAME} "))


class MemoryMap:
    """The mappings of this process, as Linux lists them in ``/proc/self/maps``, at the time of the call."""

    def __init__(self) -> None:
        with open("/proc/self/maps") as file:
            self._mappings = [_parse(line) for line in file]

    def file_of(self, memory: MemoryRange) -> tuple[str, int] | None:
        """Return the file on disk whose content these bytes are, and their offset; None for other memory.

        The mapping must be a shared one, as that of `numpy.memmap` is: then the file contains every change.
        """
        mapping = next((m for m in self._mappings if m.start <= memory.address < m.end), None)
        if mapping is None or memory.end > mapping.end or mapping.permissions[3] != "s" or not mapping.inode:
            return None
        try:
            found = os.stat(mapping.path)
        except OSError:  # it has been removed
            return None
        if (found.st_ino, found.st_dev) != (mapping.inode, os.makedev(*mapping.device)):
            return None
        return mapping.path, mapping.offset + memory.address - mapping.start

    def can_replace(self, memory: MemoryRange) -> bool:
        """Whether the pages of these bytes can be replaced: they belong to a block that malloc has got from mmap.

        Such a block ends by munmap, so that its pages never become other memory of this process. The allocator must be
        that of glibc, which has one size field before each block; the pages of other allocators stay.
        """
        if memory.n_bytes < _MIN_REPLACED or _libc() is None or not self._is_private(memory.block - 16, memory.end):
            return False
        before, size = (ctypes.c_uint64 * 2).from_address(memory.block - 16)
        start, end = memory.block - 16 - before, memory.block - 16 + (size & ~7)
        is_from_mmap = size & 7 == 2 and not start % mmap.PAGESIZE and not end % mmap.PAGESIZE
        is_whole = is_from_mmap and memory.end <= end and self._is_private(start, end)
        return is_whole and not _is_pinned(memory)

    def _is_private(self, start: int, end: int) -> bool:
        for mapping in self._mappings:
            if mapping.start <= start < mapping.end and mapping.is_private_memory:
                start = mapping.end
                if start >= end:
                    return True
        return False


def move(source: int, target: int, n_bytes: int) -> None:
    """Copy bytes from an address to another one. Other Python threads wait meanwhile, where the library is glibc."""
    (_libc() or ctypes).memmove(target, source, n_bytes)


def replace_pages(start: int, end: int, descriptor: int, offset: int, source: int) -> None:
    """Replace pages of this process by those of a file with the same content; their addresses stay.

    The pages are private: what this process writes is not written to the file, but to a copy of the page.

    Parameters
    ----------
    start, end : int
        The addresses of the first page, and after the last one.
    descriptor, offset : int
        The file, and the place of its first page.
    source : int
        An address where this process has mapped the same pages of the file.

    Raises
    ------
    OSError
        If the system refuses; the memory has its content in any case.
    """
    libc = _libc()
    assert libc is not None
    readable = mmap.PROT_READ | mmap.PROT_WRITE
    fixed = mmap.MAP_PRIVATE | _MAP_FIXED
    if libc.mmap(start, end - start, readable, fixed, descriptor, offset) != start:
        error = ctypes.get_errno()
        # A mapping that fails may have removed the one before it.
        libc.mmap(start, end - start, readable, fixed | mmap.MAP_ANONYMOUS, -1, 0)
        libc.memmove(start, source, end - start)
        raise OSError(error, os.strerror(error))


@functools.cache
def _libc() -> Any:
    """Return the C library with the GIL held in its calls; None if it is not glibc on 64 bits."""
    try:
        libc = ctypes.PyDLL(None, use_errno=True)
        libc.gnu_get_libc_version  # noqa: B018  # an AttributeError elsewhere
    except (AttributeError, OSError, TypeError):
        return None
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.memmove.restype = ctypes.c_void_p
    libc.memmove.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _is_pinned(memory: MemoryRange) -> bool:
    """Whether a GPU reads these pages by their physical addresses."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    view: Callable[..., torch.Tensor] = torch.frombuffer
    return view((ctypes.c_char * memory.n_bytes).from_address(memory.address), dtype=torch.uint8).is_pinned()


def _parse(line: str) -> _Mapping:
    addresses, permissions, offset, device, inode, *path = line.rstrip("\n").split(maxsplit=5)
    start, end = (int(address, 16) for address in addresses.split("-"))
    major, minor = (int(number, 16) for number in device.split(":"))
    return _Mapping(start, end, permissions, int(offset, 16), (major, minor), int(inode), path[0] if path else "")
