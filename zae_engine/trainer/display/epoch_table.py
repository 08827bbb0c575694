"""Epoch table: the lines of a notebook's cell as HTML and as text, with a row for each of some epochs."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .epoch_line import EpochLine, duration

_CELL = "padding: 1px 10px 1px 0; text-align: right"
_TEXT = "padding: 1px 10px 1px 0; text-align: left"


class EpochTable:
    """The epochs of a cell, and the texts between them; the first, the best and the latest are shown.

    Parameters
    ----------
    first, latest : int
        How many of the first and of the latest entries are shown.
    """

    def __init__(self, first: int, latest: int) -> None:
        self._first, self._latest = first, latest
        self._entries: list[EpochLine | str] = []
        self._best: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: EpochLine | str) -> None:
        """Add an epoch, or a line of text."""
        if isinstance(entry, EpochLine) and entry.is_best:
            self._best = len(self._entries)
        self._entries.append(entry)

    def _shown(self) -> list[EpochLine | str | int]:
        """Return the entries that are shown, and the numbers of those that are left out between them."""
        size = len(self._entries)
        if size <= self._first + self._latest + 1:
            return list(self._entries)
        best = [] if self._best is None else [self._best]
        indices = sorted({*range(self._first), *best, *range(size - self._latest, size)})
        shown: list[EpochLine | str | int] = []
        for previous, index in zip([-1, *indices], indices, strict=False):
            if index - previous > 1:
                shown.append(index - previous - 1)
            shown.append(self._entries[index])
        return shown

    def as_text(self) -> str:
        """Return the entries as lines of text."""
        return "\n".join(
            f"… {entry} more …" if isinstance(entry, int) else entry.text() if isinstance(entry, EpochLine) else entry
            for entry in self._shown()
        )

    def as_html(self) -> str:
        """Return a table: epoch, train and test values side by side, seconds, and the best epoch marked."""
        shown = self._shown()
        if not shown:
            return ""
        columns = _columns([entry for entry in shown if isinstance(entry, EpochLine)])
        names = ["epoch", *(f"{mode}_{key}" for mode, key in columns), "time", ""]
        head = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in names)
        best = None if self._best is None else self._entries[self._best]
        rows = "".join(_row(entry, columns, entry is best) for entry in shown)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _columns(lines: Sequence[EpochLine]) -> list[tuple[str, str]]:
    """Return the modes and names of all values, those of one name side by side."""
    names = dict.fromkeys(key for line in lines for values in line.values.values() for key in values)
    found = {(mode, key) for line in lines for mode, values in line.values.items() for key in values}
    return [(mode, key) for key in names for mode in ("train", "test") if (mode, key) in found]


def _row(entry: EpochLine | str | int, columns: Sequence[tuple[str, str]], is_best: bool) -> str:
    if not isinstance(entry, EpochLine):
        text = html.escape(f"… {entry} more …" if isinstance(entry, int) else entry)
        return f'<tr><td colspan="{len(columns) + 3}" style="{_TEXT}">{text}</td></tr>'
    values = [entry.values.get(mode, {}).get(key, "") for mode, key in columns]
    seconds = "" if entry.seconds is None else duration(entry.seconds)
    cells = [str(entry.epoch), *values, seconds, "best" if is_best else ""]
    style = f"{_CELL}; font-weight: bold" if is_best else _CELL
    return "<tr>" + "".join(f'<td style="{style}">{html.escape(cell)}</td>' for cell in cells) + "</tr>"
