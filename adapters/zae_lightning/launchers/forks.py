"""Forks: a forked process that stops before it has connected is found, with the stacks of its threads.

A fork copies one thread and the locks of all. A lock that another thread of the user's process, such as a tracker's or
the notebook's, holds at that moment stays locked in the copy, which waits for it without an end. Until a process has
connected it has run nothing of the user's, so that it can be ended and forked again.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

CONNECT_SECONDS = 60.0
"""How long forked processes may take to connect. They import nothing, so that a second is usual."""
ATTEMPTS = 3
"""How often the processes are forked."""
_SIGNAL: int | None = getattr(signal, "SIGUSR2", None)  # Windows has neither the signal nor forks
_MOST_BYTES = 1 << 16
"""How much a pipe holds."""


class ForksStopped(RuntimeError):
    """Forked processes have not connected in time; the message has their stacks."""


class ForkWatch:
    """A time limit for forked processes, and the pipe into which they write their stacks.

    Parameters
    ----------
    attempt : int
        How often the processes have been forked before. Each attempt has twice the time of the one before.
    """

    def __init__(self, attempt: int = 0) -> None:
        self.seconds = CONNECT_SECONDS * 2**attempt
        self._limit: float = time.monotonic() + self.seconds
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)

    def enter(self) -> None:
        """In a forked process: write the stacks of all threads when the signal arrives."""
        if _SIGNAL is not None:
            faulthandler.register(_SIGNAL, file=self._writer)

    def leave(self) -> None:
        """In a forked process that has connected: leave the signal to the user."""
        if _SIGNAL is not None:
            faulthandler.unregister(_SIGNAL)
        self.close()

    def is_over(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() > self._limit

    def stacks(self, pids: Iterable[int]) -> str:
        """Return the stacks of processes, which write them now; empty for one that has not reached `enter`."""
        if _SIGNAL is None:
            return ""
        found = b""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, _SIGNAL)
            time.sleep(0.5)  # one after the other, since they share the pipe
            with suppress(BlockingIOError):
                found += os.read(self._reader, _MOST_BYTES)
        return found.decode(errors="replace").strip()

    def close(self) -> None:
        """Close the pipe in this process."""
        os.close(self._reader)
        os.close(self._writer)
