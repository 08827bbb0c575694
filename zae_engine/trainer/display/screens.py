"""Screens: a tqdm bar and lines on stderr, or in a notebook one output of the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .. import plotting
from ..history import History
from ..utilities.safe_stream import SafeStream
from .notebook import Notebook, is_notebook


class Screen(Protocol):
    """One progress bar, lines above it, and a plot."""

    def start(self, title: str, total: int | None) -> None:
        """Start a phase of ``total`` batches (None: unknown); the bar appears."""

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Show how many batches are done, and the values."""

    def write(self, text: str) -> None:
        """Write a line."""

    def plot(self, history: History) -> None:
        """Show the curves up to now."""

    def close(self) -> None:
        """Remove the bar."""


def screen_here() -> Screen:
    """Return the screen of this process: the cell of a notebook, or stderr."""
    return Notebook.of_cell() if is_notebook() else Terminal()


class Terminal:
    """A `Screen` on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stream = SafeStream()

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


class NullScreen:
    """A `Screen` that shows nothing, for ranks other than the first."""

    def start(self, title: str, total: int | None) -> None:
        """Do nothing."""

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def write(self, text: str) -> None:
        """Do nothing."""

    def plot(self, history: History) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
