"""Safe stream: standard error that is missing, closed, broken or without Unicode never ends a run."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any


class SafeStream:
    """Writes to ``sys.stderr``, as it is at that moment; an error of it costs one warning.

    Services, programs without a console, and pipes whose reader has ended have no usable standard error.
    """

    def __init__(self) -> None:
        self._is_broken = False

    def write(self, text: str) -> int:
        """Write text; characters that the stream cannot encode are replaced."""
        stream = sys.stderr
        if stream is not None:  # a program without a console has none
            try:
                try:
                    stream.write(text)
                except UnicodeEncodeError:
                    encoding = getattr(stream, "encoding", None) or "ascii"
                    stream.write(text.encode(encoding, errors="replace").decode(encoding))
            except Exception as error:
                self._warn(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with contextlib.suppress(Exception):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def _warn(self, error: Exception) -> None:
        if not self._is_broken:
            self._is_broken = True
            with contextlib.suppress(Exception):  # a warning goes to the same stream, unless it is caught
                warnings.warn(
                    f"The progress cannot be written to stderr ({type(error).__name__}: {error}). The run continues; "
                    f"trainer.history has its results.",
                    stacklevel=3,
                )


class _DiscardedStderr:
    """Replaces a closed ``sys.stderr`` while at least one run needs one; runs may overlap in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_runs = 0
        self._closed: Any = None
        self._discarded: Any = None

    def enter(self) -> bool:
        """Replace the stream if it is closed, and return whether this or another run has replaced it."""
        with self._lock:
            if not self._n_runs:
                if sys.stderr is None or not getattr(sys.stderr, "closed", False):
                    return False
                self._closed, self._discarded = sys.stderr, open(os.devnull, "w")  # noqa: SIM115
                sys.stderr = self._discarded
            self._n_runs += 1
            return True

    def exit(self) -> None:
        """Restore the stream after the last run."""
        with self._lock:
            self._n_runs -= 1
            if not self._n_runs:
                if sys.stderr is self._discarded:
                    sys.stderr = self._closed
                self._discarded.close()
                self._closed = self._discarded = None


_discarded_stderr = _DiscardedStderr()


@contextlib.contextmanager
def usable_stderr() -> Iterator[None]:
    """Replace ``sys.stderr`` within the block if it is closed, since every warning would raise `ValueError`."""
    is_replaced = _discarded_stderr.enter()
    try:
        yield
    finally:
        if is_replaced:
            _discarded_stderr.exit()
