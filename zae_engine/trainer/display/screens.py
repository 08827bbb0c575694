"""Screens: a tqdm bar and lines on stderr, lines alone in a file, or in a notebook one output of the cell."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from .. import plotting
from ..history import History
from ..utilities.safe_stream import SafeStream
from .epoch_line import EpochLine
from .notebook import Notebook, is_notebook


class Screen(Protocol):
    """One progress bar, lines above it, and a plot."""

    def start(self, title: str, total: int | None) -> None:
        """Start a phase of ``total`` batches (None: unknown); the bar appears."""

    def is_due(self) -> bool | None:
        """Whether `update` would show something now; None if that is not known here."""

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Show how many batches are done, and the values."""

    def epoch(self, line: EpochLine) -> None:
        """Write what an epoch came to."""

    def write(self, text: str) -> None:
        """Write a line."""

    def plot(self, history: History) -> None:
        """Show the curves up to now."""

    def close(self) -> None:
        """Remove the bar."""


def check_log_bar(value: Any) -> Any:
    """Return ``log_bar``; raise `ValueError` if it is another text than "always"."""
    if isinstance(value, str) and value != "always":
        raise ValueError(f'Unexpected log_bar {value!r}: accepted are True, False and "always".')
    return value


def screen_here(log_bar: Any = True) -> Screen:
    """Return the screen of this process: the cell of a notebook, a terminal, or a file.

    Parameters
    ----------
    log_bar : bool or {"always"}, optional
        The trainer's ``log_bar``; ``"always"`` shows a bar on a stderr that is no terminal.
    """
    if is_notebook():
        return Notebook.of_cell()
    return Terminal() if _is_terminal() or log_bar == "always" else LogFile()


def _is_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except Exception:  # it is missing, closed, or another object
        return False


def _width() -> int:
    """Return the width of the terminal, in columns."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except Exception:  # it is no terminal, but shall show a bar
        columns = 0
    return columns or shutil.get_terminal_size().columns


class Terminal:
    """A `Screen` on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stream = SafeStream()

    def is_due(self) -> bool:
        """Return true; see `Screen.is_due`."""
        return True

    def start(self, title: str, total: int | None) -> None:
        """Start a phase; see `Screen.start`."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=title, dynamic_ncols=True, file=self._stream, leave=False)
        else:
            self._bar.set_description(title, refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.reset(total=total)

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Show how many batches are done; see `Screen.update`."""
        self._bar.n = done
        self._bar.set_postfix(values, refresh=False)
        self._bar.refresh()

    def epoch(self, line: EpochLine) -> None:
        """Write a line that is at most as wide as the terminal; see `Screen.epoch`."""
        self.write(line.text(_width()))

    def write(self, text: str) -> None:
        """Write a line; see `Screen.write`."""
        if self._bar is not None:
            self._bar.clear()
        self._stream.write(f"{text}\n")  # in one piece, since several threads may run trainers

    def plot(self, history: History) -> None:
        """Show the curves as a line of text; see `Screen.plot`."""
        if text := plotting.line(history):
            self.write(text)

    def close(self) -> None:
        """Remove the bar; see `Screen.close`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class LogFile:
    """A `Screen` on a stderr that is no terminal: lines with the time of day, no bar, no carriage return.

    Between two lines of epochs, a line about the batches follows after `SECONDS`, by a monotonic clock.
    """

    SECONDS = 30.0

    def __init__(self) -> None:
        self._stream = SafeStream()
        self._title, self._total = "", 0
        self._restart_clock()

    def _restart_clock(self) -> None:
        self._due = time.monotonic() + self.SECONDS

    def start(self, title: str, total: int | None) -> None:
        """Start a phase; see `Screen.start`."""
        self._title, self._total = title, total or 0

    def is_due(self) -> bool:
        """Whether the latest line is `SECONDS` old; see `Screen.is_due`."""
        return time.monotonic() >= self._due

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Write how many batches are done, if a line is due and the line of the epoch does not follow at once."""
        if not self.is_due() or done == self._total:
            return
        of_total = f"{done}/{self._total}" if self._total else str(done)
        shown = ", ".join(f"{key}: {value}" for key, value in values.items())
        self.write(" | ".join(part for part in (self._title, f"batch {of_total}", shown) if part))

    def epoch(self, line: EpochLine) -> None:
        """Write a line; see `Screen.epoch`."""
        self.write(line.text())

    def write(self, text: str) -> None:
        """Write a line; see `Screen.write`."""
        self._stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._stream.flush()  # someone may follow the file
        self._restart_clock()

    def plot(self, history: History) -> None:
        """Show the curves as a line of text; see `Screen.plot`."""
        if text := plotting.line(history):
            self.write(text)

    def close(self) -> None:
        """Do nothing; see `Screen.close`."""


class NullScreen:
    """A `Screen` that shows nothing, for ranks other than the first."""

    def is_due(self) -> bool:
        """Return false; see `Screen.is_due`."""
        return False

    def start(self, title: str, total: int | None) -> None:
        """Do nothing."""

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def epoch(self, line: EpochLine) -> None:
        """Do nothing."""

    def write(self, text: str) -> None:
        """Do nothing."""

    def plot(self, history: History) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
