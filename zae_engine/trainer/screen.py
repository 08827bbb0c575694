"""What a display draws on: a tqdm bar and lines on stderr, in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol


class Screen(Protocol):
    """One progress bar, and lines above it."""

    def show(self, title: str, total: int | None) -> None:
        """Begin a part of so many batches (None: not known); the bar appears."""

    def draw(self, done: int, values: Mapping[str, Any]) -> None:
        """Show how many batches are done, and values beside."""

    def line(self, text: str) -> None:
        """Write a line."""

    def close(self) -> None:
        """Remove the bar."""


class Terminal:
    """A `Screen` on stderr; in a notebook tqdm draws its own widget."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, title: str, total: int | None) -> None:
        """As `Screen.show`."""
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=title, dynamic_ncols=True, file=sys.stderr, leave=False)
        else:
            self._bar.set_description(title, refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.reset(total=total)

    def draw(self, done: int, values: Mapping[str, Any]) -> None:
        """As `Screen.draw`."""
        self._bar.n = done
        self._bar.set_postfix(values, refresh=False)
        self._bar.refresh()

    def line(self, text: str) -> None:
        """As `Screen.line`."""
        if self._bar is not None:
            self._bar.clear()
        sys.stderr.write(f"{text}\n")  # in one piece, also where runs go on in several threads

    def close(self) -> None:
        """As `Screen.close`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Dark:
    """A `Screen` that shows nothing, for ranks other than the first."""

    def show(self, title: str, total: int | None) -> None:
        """Do nothing."""

    def draw(self, done: int, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def line(self, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
