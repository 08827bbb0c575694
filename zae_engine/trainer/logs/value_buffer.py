"""Values that arrive one a step and are read much later: kept where they are, moved and packed in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch

CHUNK = 1024
"""How many values wait before they are packed."""
MAX_BYTES = 1 << 24
"""How much memory of another device may be held by values that wait."""
_MAX_PACKED = 16  # elements; larger tensors are kept as they are, since it is their data that takes the memory


class ValueBuffer:
    """A list of what the steps gave under one key, which costs little to append to and little memory to keep.

    A tensor of one element takes some 500 bytes, and bringing it from a GPU makes the processor wait. So values wait
    until there are many of them; then those that are single numbers, or few, are stacked and moved together. Read by
    `to_list`, they are a plain list of tensors on the CPU, which is filled directly from then on.

    Parameters
    ----------
    to_list : list, optional
        A list to fill directly.
    """

    def __init__(self, to_list: list[Any] | None = None) -> None:
        self._entries = to_list
        self._chunks: list[torch.Tensor | list[Any]] = []
        self._waiting: list[Any] = []
        self._bytes = 0

    @classmethod
    def of(cls, values: torch.Tensor | list[Any]) -> ValueBuffer:
        """Return a series of the rows of a tensor, or of the values of a list."""
        series = cls()
        series._chunks = [values] if len(values) else []
        return series

    def append(self, value: Any) -> None:
        """Add a value that `detach_copy` has returned."""
        if self._entries is not None:
            self._entries.append(on_cpu(value))
            return
        if len(self._waiting) >= CHUNK or self._bytes > MAX_BYTES:  # the step before is over
            self._flush()
        if isinstance(value, torch.Tensor) and is_off_cpu(value):
            self._bytes += value.nbytes
        self._waiting.append(value)

    def extend(self, values: Iterable[Any]) -> None:
        """Add several such values."""
        for value in values:
            self.append(value)

    def truncate(self, length: int) -> None:
        """Forget all values but the first ``length``."""
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
        """Have the values of another series; a list that was handed out stays the same object."""
        if self._entries is not None:
            self._entries[:] = other.to_list()
        else:
            self._chunks = other._chunks if other._entries is None else [other._entries]
            self._waiting, self._bytes = other._waiting, other._bytes

    def to_list(self) -> list[Any]:
        """Return all values as a list, the same one at each call, which grows with the series."""
        if self._entries is None:
            self._flush()
            self._entries = [value for chunk in self._chunks for value in _unpacked(chunk)]
            self._chunks = []
        return self._entries

    def read_from(self, start: int) -> list[Any]:
        """Return the values from ``start`` on, to be read and let go."""
        if self._entries is not None:
            return self._entries[start:]
        if self._bytes:
            self._flush()
        values: list[Any] = []
        for chunk in [*self._chunks, self._waiting]:
            if start < len(chunk):
                part = chunk[max(start, 0) :]
                values += part if isinstance(part, list) else part.unbind()
            start -= len(chunk)
        return values

    def stacked(self) -> torch.Tensor | None:
        """Return all values as one tensor on the CPU; None if they are not all tensors of one shape and dtype."""
        if self._bytes:
            self._flush()
        lists = [self._entries] if self._entries is not None else [*self._chunks, self._waiting]
        parts = [chunk if isinstance(chunk, torch.Tensor) else stack(chunk) for chunk in lists if len(chunk)]
        if not parts or any(part is None or _kind_of_rows(part) != _kind_of_rows(parts[0]) for part in parts):
            return None
        return parts[0] if len(parts) == 1 else torch.cat(parts)  # type: ignore[arg-type]

    def __len__(self) -> int:
        if self._entries is not None:
            return len(self._entries)
        return sum(len(chunk) for chunk in self._chunks) + len(self._waiting)

    def __reduce__(self) -> Any:
        """Travel packed."""
        packed = self
        if self._entries is not None:
            packed = ValueBuffer()
            packed.extend(self._entries)
        packed._flush()
        return _restored, (packed._chunks, self._entries is not None)

    def _flush(self) -> None:
        """Bring what waits to the CPU, and pack it."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for kind, run in groupby(waiting, key=_kind):
            values = list(run)
            if kind is None or len(values) == 1:
                self._chunks.append([on_cpu(value) for value in values])
            else:
                self._chunks.append(torch.stack(values).cpu())


def detach_copy(value: Any) -> Any:
    """Return a tensor of one's own, detached, to be kept in a `ValueBuffer`; anything else is returned as it is.

    As in zae-engine 0.7.6, memory on the CPU is not copied: where somebody changes it in place, as one does with a
    running mean, what was logged changes too. Of a tensor on another device, this is a copy, still there.
    """
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone() if is_off_cpu(value) else value.detach()


def on_cpu(value: Any) -> Any:
    """Return a tensor detached and on the CPU, and anything else as it is."""
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def stack(values: Sequence[Any]) -> torch.Tensor | None:
    """Return tensors on the CPU as one; None if they are not all plain tensors of one shape and dtype."""
    first = values[0] if values else None
    if type(first) is not torch.Tensor:
        return None
    shape, dtype = first.shape, first.dtype
    if any(type(value) is not torch.Tensor or value.dtype != dtype or value.shape != shape for value in values):
        return None
    return torch.stack(list(values)).detach()


def is_off_cpu(tensor: torch.Tensor) -> bool:
    """Whether a tensor is on another device than the CPU, so that reading it waits for that device."""
    return not tensor.is_cpu


def owns_storage(tensor: torch.Tensor) -> bool:
    """Whether no other tensor shares the memory of this one, and it is torch's own, not an array's of NumPy.

    Only torch's own count of a storage's users tells, which has no public name. Without it, nothing is packed on the
    CPU: the records are right, but take more memory. tests/zae_engine/trainer/test_series.py fails then.
    """
    return 0 < _users(tensor) <= _SOLE_USER_COUNT and tensor.untyped_storage().resizable()


def _users(tensor: torch.Tensor) -> int:
    count = getattr(torch._C, "_storage_Use_Count", None)
    return count(tensor.untyped_storage()._cdata) if count is not None else 0


def _kind(value: Any) -> Any:
    """Return what values must have in common to be stacked; None if a value is kept as it is."""
    if type(value) is not torch.Tensor or value.layout is not torch.strided or value.numel() > _MAX_PACKED:
        return None
    return (value.shape, value.dtype, value.device) if is_off_cpu(value) or owns_storage(value) else None


def _kind_of_rows(stacked: torch.Tensor | None) -> Any:
    return None if stacked is None else (stacked.shape[1:], stacked.dtype)


def _unpacked(chunk: torch.Tensor | list[Any]) -> list[Any]:
    """Return tensors that hold no memory but their own: one of them may be kept, or saved, for long."""
    return chunk if isinstance(chunk, list) else [value.clone() for value in chunk.unbind()]


def _restored(chunks: list[torch.Tensor | list[Any]], was_read: bool) -> ValueBuffer:
    series = ValueBuffer()
    series._chunks = chunks
    if was_read:
        series.to_list()
    return series


_REFERENCE = torch.zeros(())
_SOLE_USER_COUNT = _users(_REFERENCE)
