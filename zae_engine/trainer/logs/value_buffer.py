"""Value buffer: store one value a step, and move the values to the CPU and pack them in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch

CHUNK = 1024
"""The number of values that wait before they are packed."""
MAX_BYTES = 1 << 24
"""The number of bytes on other devices that waiting values may occupy."""
_MAX_PACKED = 16  # elements: in larger tensors the data takes the memory, so that packing them saves none


class ValueBuffer:
    """The values that the steps returned under one key, cheap to append to and small in memory.

    A tensor of one element takes some 500 bytes, and reading it from a GPU blocks the CPU. Values therefore wait until
    there are `CHUNK` of them. Then small tensors of one shape, dtype and device are stacked and moved to the CPU
    together. `to_list` returns the values as a plain list of tensors on the CPU. From then on, values are appended to
    that list.

    Parameters
    ----------
    entries : list, optional
        A list that values are appended to from the start.
    sizes : list, optional
        The number of samples behind each value, for means over samples; see `zae_engine.trainer.logs.reductions.mean`.
        None, the default, for means over batches. The log that owns the buffer fills the list.

    Attributes
    ----------
    sizes : list or None
        The argument.
    """

    def __init__(self, entries: list[Any] | None = None, sizes: list[Any] | None = None) -> None:
        self.sizes = sizes
        self._entries = entries
        self._chunks: list[torch.Tensor | list[Any]] = []
        self._waiting: list[Any] = []
        self._bytes = 0

    @property
    def weights(self) -> list[Any] | None:
        """The number of samples behind each value; None if that of some value is not known."""
        return self.sizes if self.sizes is not None and len(self.sizes) == len(self) else None

    @classmethod
    def of(cls, values: torch.Tensor | list[Any]) -> ValueBuffer:
        """Return a buffer with the rows of a tensor, or with the values of a list."""
        buffer = cls()
        buffer._chunks = [values] if len(values) else []
        return buffer

    def append(self, value: Any) -> None:
        """Append a value that `detach_copy` returned."""
        if self._entries is not None:
            self._entries.append(on_cpu(value))
            return
        if len(self._waiting) >= CHUNK or self._bytes > MAX_BYTES:  # before appending: earlier steps are complete
            self._flush()
        if isinstance(value, torch.Tensor) and is_off_cpu(value):
            self._bytes += value.nbytes
        self._waiting.append(value)

    def extend(self, values: Iterable[Any]) -> None:
        """Append several such values."""
        for value in values:
            self.append(value)

    def truncate(self, length: int) -> None:
        """Remove all values but the first ``length``."""
        if self._entries is not None:
            del self._entries[length:]
            return
        if self._bytes:
            self._flush()
        chunks, self._chunks, self._waiting = [*self._chunks, self._waiting], [], []
        for chunk in chunks:
            if length > 0:
                self._chunks.append(chunk if len(chunk) <= length else chunk[:length])
            length -= len(chunk)

    def assign(self, other: ValueBuffer) -> None:
        """Replace the values by those of another buffer. A list that `to_list` returned stays the same object."""
        if self._entries is not None:
            self._entries[:] = other.to_list()
        else:
            self._chunks = other._chunks if other._entries is None else [other._entries]
            self._waiting, self._bytes = other._waiting, other._bytes

    def to_list(self) -> list[Any]:
        """Return all values as a list. Each call returns the same list, which grows with the buffer."""
        if self._entries is None:
            self._flush()
            self._entries = [value for chunk in self._chunks for value in _unpack(chunk)]
            self._chunks = []
        return self._entries

    def read_from(self, start: int) -> list[Any]:
        """Return a new list of the values from ``start`` on. The buffer stays packed."""
        if self._entries is not None:
            return self._entries[start:]
        if self._bytes:
            self._flush()
        values: list[Any] = []
        for chunk in [*self._chunks, self._waiting]:
            if start < len(chunk):
                rows = chunk[max(start, 0) :]
                values += rows if isinstance(rows, list) else rows.unbind()
            start -= len(chunk)
        return values

    def stacked(self) -> torch.Tensor | None:
        """Return all values as one tensor on the CPU; None if they are not tensors of one shape and dtype."""
        if self._bytes:
            self._flush()
        lists = [self._entries] if self._entries is not None else [*self._chunks, self._waiting]
        tensors: list[torch.Tensor] = []
        for chunk in lists:
            if not len(chunk):
                continue
            tensor = chunk if isinstance(chunk, torch.Tensor) else stack(chunk)
            if tensor is None or (tensors and not _have_equal_rows(tensor, tensors[0])):
                return None
            tensors.append(tensor)
        return torch.cat(tensors) if len(tensors) > 1 else next(iter(tensors), None)

    def __len__(self) -> int:
        if self._entries is not None:
            return len(self._entries)
        return sum(len(chunk) for chunk in self._chunks) + len(self._waiting)

    def __reduce__(self) -> Any:
        """Pickle the packed chunks, which take less space than lists of tensors."""
        packed = self
        if self._entries is not None:
            packed = ValueBuffer()
            packed.extend(self._entries)
        packed._flush()
        return _unpickle, (packed._chunks, self._entries is not None)

    def _flush(self) -> None:
        """Move the waiting values to the CPU, and pack them."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for key, group in groupby(waiting, key=_stacking_key):
            values = list(group)
            if key is None or len(values) == 1:
                self._chunks.append([on_cpu(value) for value in values])
            else:
                self._chunks.append(torch.stack(values).cpu())


def detach_copy(value: Any) -> Any:
    """Return a detached tensor for a `ValueBuffer`. A value that is not a tensor is returned unchanged.

    A tensor on another device than the CPU is copied on that device. Memory on the CPU is not copied, as in zae-engine
    0.7.6: an in-place change of the user's tensor, of a running mean for instance, changes the logged value too.
    """
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone() if is_off_cpu(value) else value.detach()


def on_cpu(value: Any) -> Any:
    """Return a tensor detached and on the CPU. A value that is not a tensor is returned unchanged."""
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def stack(values: Sequence[Any]) -> torch.Tensor | None:
    """Return tensors on the CPU as one tensor; None if they are not plain tensors of one shape and dtype."""
    first = values[0] if values else None
    if type(first) is not torch.Tensor:
        return None
    shape, dtype = first.shape, first.dtype
    if any(type(value) is not torch.Tensor or value.dtype != dtype or value.shape != shape for value in values):
        return None
    return torch.stack(list(values)).detach()


def is_off_cpu(tensor: torch.Tensor) -> bool:
    """Whether a tensor is on another device than the CPU, so that reading it blocks until the device is done."""
    return not tensor.is_cpu


def owns_storage(tensor: torch.Tensor) -> bool:
    """Whether no other tensor shares the memory of this one, and torch allocated it, not NumPy.

    torch counts the users of a storage, but the count has no public name. If torch removes it, values on the CPU are
    not packed: the records stay correct and take more memory. tests/unit/trainer/logs/test_value_buffer.py fails then.
    """
    return 0 < _storage_users(tensor) <= _SOLE_USER_COUNT and tensor.untyped_storage().resizable()


def _storage_users(tensor: torch.Tensor) -> int:
    count = getattr(torch._C, "_storage_Use_Count", None)
    return count(tensor.untyped_storage()._cdata) if count is not None else 0


def _stacking_key(value: Any) -> Any:
    """Return a key that is equal for values that can be stacked; None for a value that is not stacked."""
    if type(value) is not torch.Tensor or value.layout is not torch.strided or value.numel() > _MAX_PACKED:
        return None
    return (value.shape, value.dtype, value.device) if is_off_cpu(value) or owns_storage(value) else None


def _have_equal_rows(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape[1:] == second.shape[1:] and first.dtype == second.dtype


def _unpack(chunk: torch.Tensor | list[Any]) -> list[Any]:
    """Return the values of a chunk as tensors with separate memory, so that one of them does not keep all alive."""
    return chunk if isinstance(chunk, list) else [value.clone() for value in chunk.unbind()]


def _unpickle(chunks: list[torch.Tensor | list[Any]], was_read: bool) -> ValueBuffer:
    buffer = ValueBuffer()
    buffer._chunks = chunks
    if was_read:
        buffer.to_list()
    return buffer


_REFERENCE = torch.zeros(())
_SOLE_USER_COUNT = _storage_users(_REFERENCE)
