"""Letting Ctrl-C fall between steps: never into an update, nor into the books of a step or an epoch."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InterruptGuard:
    """Holds a Ctrl-C back from the moment when a step begins to change things until it has been recorded.

    An interrupt in the step itself, or while the loader works, is raised at once. One that comes between backward and
    the step count waits until that is done, so that weights, logs, history and counts always tell of the same steps. A
    second one does not wait.

    Examples
    --------
    >>> interrupts = InterruptGuard()
    >>> with interrupts.installed():
    ...     interrupts.defer()
    ...     # weights, logs and counts change here
    ...     interrupts.resume()  # raises KeyboardInterrupt if Ctrl-C was pressed meanwhile
    """

    def __init__(self) -> None:
        self._holds = self._is_pending = False
        self._previous: Any = None

    def defer(self) -> None:
        """Hold interrupts back from now on."""
        self._holds = True

    def resume(self) -> None:
        """Let them through again, the one that has come meanwhile first."""
        self._holds = False
        if self._is_pending:
            self._is_pending = False
            self._previous(signal.SIGINT, sys._getframe())

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold interrupts back within; what is deferred already stays so."""
        held_before, self._holds = self._holds, True
        try:
            yield
        finally:
            self._holds = held_before
            if not held_before:
                self.resume()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the say about Ctrl-C while something runs, in the main thread; the handler from before comes back."""
        previous = signal.getsignal(signal.SIGINT)
        if (
            threading.current_thread() is not threading.main_thread()
            or not callable(previous)
            or self._previous is not None  # a run within a run
        ):
            yield
            return
        self._previous, self._holds, self._is_pending = previous, False, False
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
            self.resume()
        finally:
            self._holds = False
            signal.signal(signal.SIGINT, previous)
            is_pending, self._previous, self._is_pending = self._is_pending, None, False
            if is_pending:  # an exception has ended the step that it waited for
                previous(signal.SIGINT, sys._getframe())

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._holds and not self._is_pending:
            self._is_pending = True
        else:
            self._is_pending = False
            (self._previous or signal.default_int_handler)(number, frame)

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what belongs to a run under way."""
        return {"_holds": False, "_is_pending": False, "_previous": None}
