"""Epoch log: a dict of lists that is cheap to write and is filled when it is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import wraps
from typing import Any

from .value_buffer import ValueBuffer, on_cpu


class EpochLog(defaultdict[str, list[Any]]):
    """A defaultdict of lists: for each key, what the steps of an epoch returned.

    Before the first read, a `ValueBuffer` for each key stores the values. The first read fills the lists. From then on,
    until the log is cleared, values are appended to the lists directly, since the reader may hold a reference to them.
    """

    def __init__(self, default_factory: Any = list, values: Any = ()) -> None:
        super().__init__(default_factory, values)
        self._buffers: dict[Any, ValueBuffer] = {}
        self._sizes: dict[Any, list[Any]] = {}  # by key, the number of samples behind each value
        self._was_read = len(self) > 0

    def add(self, key: Any, value: Any, size: Any = None) -> None:
        """Append a value to the list of a key.

        Parameters
        ----------
        key : hashable
            The key.
        value : object
            What `detach_copy` returned.
        size : float or torch.Tensor, optional
            The number of samples behind the value, for means over samples; None for means over batches.
        """
        if size is not None:
            self._sizes.setdefault(key, []).append(size)
        if self._was_read:
            super().__getitem__(key).append(on_cpu(value))
            return
        if key not in self._buffers:
            super().__setitem__(key, [])  # for `len`, `in` and iteration over the keys
            self._buffers[key] = ValueBuffer(sizes=self._sizes.get(key))
        self._buffers[key].append(value)

    def materialize(self) -> None:
        """Fill the lists from the buffers."""
        buffers, self._buffers, self._was_read = self._buffers, {}, True
        for key, buffer in buffers.items():
            super().__setitem__(key, buffer.to_list())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys.

        This method exists so that ``dict(log)`` calls the methods of this class. Without it, CPython copies the
        underlying table, whose lists may not be filled.
        """
        return super().__iter__()

    def clear(self) -> None:
        """Remove all keys."""
        self.suspend()

    def suspend(self) -> Any:
        """Remove all keys, and return the content for `resume`."""
        content = (dict(self) if self._was_read else {}, self._buffers, self._was_read, self._sizes)
        super().clear()
        self._buffers, self._was_read, self._sizes = {}, False, {}
        return content

    def resume(self, content: Any) -> None:
        """Replace the content by what `suspend` returned."""
        super().clear()
        lists, self._buffers, self._was_read, self._sizes = content
        super().update(lists or {key: [] for key in self._buffers})

    def _zae_assign(self, other: EpochLog) -> None:
        """Move the content of another log into this one."""
        self.resume(other.suspend())

    def __reduce__(self) -> Any:
        """Pickle the buffers, which take less space than lists of tensors."""
        buffers = {key: ValueBuffer(values) for key, values in self.items()} if self._was_read else self._buffers
        return _unpickle, (buffers, self._sizes)


def _materializing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that fills the lists before it calls ``method``."""

    @wraps(method)
    def wrapper(self: EpochLog, *args: Any, **kwargs: Any) -> Any:
        if not self._was_read:
            self.materialize()
        return method(self, *args, **kwargs)

    return wrapper


for _name in (
    *("__getitem__", "get", "items", "values", "copy", "__copy__", "__repr__", "__eq__", "__ne__"),
    *("__setitem__", "__delitem__", "setdefault", "update", "pop", "popitem", "__or__", "__ror__", "__ior__"),
):
    setattr(EpochLog, _name, _materializing(getattr(defaultdict, _name)))


def log_of(trainer: Any, mode: str | None = None) -> defaultdict[str, list[Any]]:
    """Return the log of a trainer for a mode, by default its current mode."""
    log: defaultdict[str, list[Any]] = trainer.log_train if (mode or trainer.mode) == "train" else trainer.log_test
    return log


def peek(log: Mapping[str, Any]) -> Mapping[str, ValueBuffer]:
    """Return the values of a log by key, read-only. The call does not fill an `EpochLog`."""
    if isinstance(log, EpochLog) and not log._was_read:
        return log._buffers
    sizes = log._sizes if isinstance(log, EpochLog) else {}
    return {key: ValueBuffer(values, sizes.get(key)) for key, values in log.items()}


def are_weighted(log: Mapping[str, Any]) -> bool:
    """Whether the number of samples behind each value of a log is known."""
    return all(buffer.weights is not None for buffer in peek(log).values())


def suspend(log: MutableMapping[str, list[Any]]) -> Any:
    """Empty a log, and return its content for `resume`."""
    if isinstance(log, EpochLog):
        return log.suspend()
    content = dict(log)
    log.clear()
    return content


def resume(log: MutableMapping[str, list[Any]], content: Any) -> None:
    """Replace the content of a log by what `suspend` returned."""
    if isinstance(log, EpochLog):
        log.resume(content)
    else:
        log.clear()
        log.update(content)


def replace(
    log: MutableMapping[str, list[Any]],
    values: Mapping[str, list[Any]],
    sizes: Mapping[str, list[Any]] | None = None,
) -> None:
    """Replace the content of a log by lists of values, with the number of samples behind each where it is known."""
    log.clear()
    if not isinstance(log, EpochLog):
        log.update(values)
        return
    for key, entries in values.items():
        for entry, size in zip(entries, (sizes or {}).get(key) or [None] * len(entries), strict=True):
            log.add(key, entry, size)


def _unpickle(buffers: dict[Any, ValueBuffer], sizes: dict[Any, list[Any]] | None = None) -> EpochLog:
    log, sizes = EpochLog(), sizes or {}
    for key, buffer in buffers.items():
        buffer.sizes = sizes.get(key)
    log.resume(({}, buffers, False, sizes))
    return log
