"""Interrupts: Ctrl-C while processes start and end, in the parent process and in theirs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_HAS_MASKS = hasattr(signal, "pthread_sigmask")


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Deliver a Ctrl-C that arrives within the block after it: processes are started, or ended, all or none."""
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


@contextmanager
def blocked_in_new_processes() -> Iterator[None]:
    """Block SIGINT in processes that start within the block, until they call `unblock`.

    A process that is interrupted while it imports its modules would end without a message, and the other ranks would
    wait for it. A blocked signal stays pending.
    """
    if not _HAS_MASKS:
        yield
        return
    resource_tracker.ensure_running()  # a process that it starts within the block would unblock the signal here
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def unblock() -> None:
    """Deliver SIGINT in this process from now on, a pending one at once."""
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
