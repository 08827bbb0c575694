"""Import guard: keep the random states, and delay Ctrl-C, while a package is imported."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import rng

_lock = threading.RLock()


@contextmanager
def guarded_import(package: str) -> Iterator[None]:
    """Import a package within the block, without an effect on the program.

    Some packages draw random numbers while they are imported, Lightning for instance. A program that has seeded the
    generators would compute other numbers if its first run imported such a package. An interrupt in the middle of an
    import leaves a package half imported: every later import of it fails, until the process ends. So an interrupt is
    delivered after the import.

    Parameters
    ----------
    package : str
        The package; if it is imported already, the guard does nothing.

    Examples
    --------
    >>> with guarded_import("json"):
    ...     import json
    """
    if _is_imported(package):
        yield
        return
    with _lock:  # threads that import parts of a circular package at once get some of them half imported
        if _is_imported(package):
            yield
            return
        state = rng.random_state()
        with _delayed_interrupt():
            try:
                yield
            finally:
                rng.set_random_state(state)


def _is_imported(package: str) -> bool:
    module = sys.modules.get(package)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


@contextmanager
def _delayed_interrupt() -> Iterator[None]:
    """Deliver a Ctrl-C that arrives within the block after it."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pending: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pending:
            handler(*pending[0])
