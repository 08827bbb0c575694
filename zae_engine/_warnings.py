"""Warnings: ignore some warnings within a block, in one thread."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_ignored = threading.local()


class _PatternOfThread:
    """A pattern that matches the warnings which the current thread ignores."""

    def match(self, text: str) -> Any:
        return any(pattern.match(text) for pattern in getattr(_ignored, "patterns", ()))


_FILTER = ("ignore", _PatternOfThread(), Warning, None, 0)


@contextmanager
def ignored_warnings(pattern: str) -> Iterator[None]:
    """Ignore the warnings whose message starts with a regular expression.

    `warnings.catch_warnings` replaces the filters of the process for a moment. With several threads, filters of the
    user get lost, and those of the block stay. This uses one permanent filter, which matches only within the block and
    in its thread.

    Parameters
    ----------
    pattern : str
        The regular expression.

    Examples
    --------
    >>> with ignored_warnings("not of interest"):
    ...     warnings.warn("not of interest here")
    """
    with _lock:
        _put_first(_FILTER)
    patterns = _ignored.__dict__.setdefault("patterns", [])
    patterns.append(re.compile(pattern))
    try:
        yield
    finally:
        patterns.pop()


def _put_first(entry: tuple[Any, ...]) -> None:
    """Put a filter before all those of the user that do something else than ignore."""
    # A direct change of the list, unlike filterwarnings, does not make Python forget which warnings it has shown.
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    for other in filters:
        if other is entry:
            return
        if other[0] != "ignore":
            break
    filters[:] = [entry, *(other for other in filters if other is not entry)]
