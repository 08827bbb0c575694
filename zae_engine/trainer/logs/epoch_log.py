"""The log of an epoch: a dict of lists to whoever reads it, and until then as cheap to write as can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import wraps
from typing import Any

from .value_buffer import ValueBuffer, on_cpu


class EpochLog(defaultdict[str, list[Any]]):
    """What the steps of an epoch returned, a list a key; a defaultdict of lists, which is filled when it is read.

    Until somebody reads it, the values are kept in a `ValueBuffer` for each key. The first reading fills the lists, and
    until it is cleared they are written to directly, as whoever has read them may hold them.
    """

    def __init__(self, default_factory: Any = list, values: Any = ()) -> None:
        super().__init__(default_factory, values)
        self._series: dict[Any, ValueBuffer] = {}
        self._was_read = len(self) > 0

    def add(self, key: Any, value: Any) -> None:
        """Append a value, as `detach_copy` returned it, to the list of a key."""
        if self._was_read:
            super().__getitem__(key).append(on_cpu(value))
            return
        if key not in self._series:
            super().__setitem__(key, [])  # the key can be seen
            self._series[key] = ValueBuffer()
        self._series[key].append(value)

    def materialize(self) -> None:
        """Fill the lists."""
        series, self._series, self._was_read = self._series, {}, True
        for key, values in series.items():
            super().__setitem__(key, values.to_list())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys; that it is written in Python keeps ``dict(log)`` from copying what is not filled."""
        return super().__iter__()

    def clear(self) -> None:
        """Remove all keys."""
        self.suspend()

    def suspend(self) -> Any:
        """Remove all keys, and return them for `resume`."""
        aside = (dict(self) if self._was_read else {}, self._series, self._was_read)
        super().clear()
        self._series, self._was_read = {}, False
        return aside

    def resume(self, aside: Any) -> None:
        """Have what `suspend` returned, and nothing else."""
        super().clear()
        lists, self._series, self._was_read = aside
        super().update(lists or {key: [] for key in self._series})

    def _zae_assign(self, other: EpochLog) -> None:
        """Have what another log has, which is empty then."""
        self.resume(other.suspend())

    def __reduce__(self) -> Any:
        """Travel packed."""
        return _restored, (
            {key: ValueBuffer(values) for key, values in self.items()} if self._was_read else self._series,
        )


def _reader(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def reads(self: EpochLog, *args: Any, **kwargs: Any) -> Any:
        if not self._was_read:
            self.materialize()
        return method(self, *args, **kwargs)

    return reads


for _name in (
    *("__getitem__", "get", "items", "values", "copy", "__copy__", "__repr__", "__eq__", "__ne__"),
    *("__setitem__", "__delitem__", "setdefault", "update", "pop", "popitem", "__or__", "__ror__", "__ior__"),
):
    setattr(EpochLog, _name, _reader(getattr(defaultdict, _name)))


def log_of(trainer: Any, mode: str | None = None) -> defaultdict[str, list[Any]]:
    """Return the log of a trainer for a mode, by default its present one."""
    log: defaultdict[str, list[Any]] = trainer.log_train if (mode or trainer.mode) == "train" else trainer.log_test
    return log


def peek(log: Mapping[str, Any]) -> Mapping[str, ValueBuffer]:
    """Return the values of a log by key, to be looked at only: a `EpochLog` is not filled by it."""
    if isinstance(log, EpochLog) and not log._was_read:
        return log._series
    return {key: ValueBuffer(values) for key, values in log.items()}


def suspend(log: MutableMapping[str, list[Any]]) -> Any:
    """Empty a log, and return what was in it for `resume`."""
    if isinstance(log, EpochLog):
        return log.suspend()
    aside = dict(log)
    log.clear()
    return aside


def resume(log: MutableMapping[str, list[Any]], aside: Any) -> None:
    """Give a log what `suspend` took out, and nothing else."""
    if isinstance(log, EpochLog):
        log.resume(aside)
    else:
        log.clear()
        log.update(aside)


def replace(log: MutableMapping[str, list[Any]], values: Mapping[str, list[Any]]) -> None:
    """Give a log other content."""
    log.clear()
    if not isinstance(log, EpochLog):
        log.update(values)
        return
    for key, to_list in values.items():
        for entry in to_list:
            log.add(key, entry)


def _restored(series: dict[Any, ValueBuffer]) -> EpochLog:
    log = EpochLog()
    log.resume(({}, series, False))
    return log
