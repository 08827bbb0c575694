"""Interrupts: delay SIGINT while weights and logs are being updated."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InterruptGuard:
    """Delays Ctrl-C from the moment a step starts to change the trainer until the step is recorded.

    An interrupt during the user's step, or while the loader works, is raised at once. An interrupt between backward and
    the step count is raised after the step count, so that weights, logs, history and counts always describe the same
    steps. A second interrupt is raised at once.

    Examples
    --------
    >>> interrupts = InterruptGuard()
    >>> with interrupts.installed():
    ...     interrupts.defer()
    ...     # weights, logs and counts change here
    ...     interrupts.resume()  # raises KeyboardInterrupt if Ctrl-C was pressed since `defer`
    """

    def __init__(self) -> None:
        self._is_deferring = self._is_pending = False
        self._previous_handler: Any = None

    def defer(self) -> None:
        """Delay interrupts until `resume`."""
        self._is_deferring = True

    def resume(self) -> None:
        """Stop delaying interrupts, and raise a pending one."""
        self._is_deferring = False
        if self._is_pending:
            self._is_pending = False
            self._previous_handler(signal.SIGINT, sys._getframe())

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Delay interrupts within the block. If they are delayed already, they stay delayed after it."""
        was_deferring, self._is_deferring = self._is_deferring, True
        try:
            yield
        finally:
            self._is_deferring = was_deferring
            if not was_deferring:
                self.resume()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT within the block, if it runs in the main thread, and restore the previous handler after it."""
        previous_handler = signal.getsignal(signal.SIGINT)
        if (
            threading.current_thread() is not threading.main_thread()
            or not callable(previous_handler)
            or self._previous_handler is not None  # an enclosing run has installed this guard
        ):
            yield
            return
        self._previous_handler, self._is_deferring, self._is_pending = previous_handler, False, False
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
            self.resume()
        finally:
            self._is_deferring = False
            signal.signal(signal.SIGINT, previous_handler)
            is_pending, self._previous_handler, self._is_pending = self._is_pending, None, False
            if is_pending:  # an exception has ended the step before `resume`
                previous_handler(signal.SIGINT, sys._getframe())

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._is_deferring and not self._is_pending:
            self._is_pending = True
        else:
            self._is_pending = False
            (self._previous_handler or signal.default_int_handler)(number, frame)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the current run."""
        return {"_is_deferring": False, "_is_pending": False, "_previous_handler": None}
