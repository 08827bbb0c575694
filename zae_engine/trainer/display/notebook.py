"""Notebook screen: the epochs, the bar and the plot of a run in the output of a cell.

The table of the epochs and the bar are one output, which is updated in place. A bar of ipywidgets sends several
messages for each refresh, and Jupyter stops a cell that sends too many.
"""

from __future__ import annotations

import base64
import html
import io
import sys
import time
from collections.abc import Mapping
from typing import Any

from .. import plotting
from ..history import History
from ..utilities.import_guard import guarded_import
from .epoch_line import EpochLine
from .epoch_table import EpochTable

SECONDS_BETWEEN_MESSAGES = 0.25
"""The shortest time between two messages to the notebook, but for the last state of a cell."""
_SECONDS_TO_JOIN = 1.0


class Notebook:
    """A `Screen` in the output of a cell: a table of the epochs, below it the bar, and a plot."""

    FIRST, LATEST = 2, 8
    _latest: Notebook | None = None
    _is_flushed_after_cells = False

    def __init__(self) -> None:
        self._table = EpochTable(self.FIRST, self.LATEST)
        self._bar: str | None = None
        self._title, self._total, self._start, self._done = "", 0, 0.0, 0  # of the bar
        self._text: Any = None
        self._picture: Any = None
        self._is_stale = False
        self._due = 0.0
        self._cell = _cell_number()

    @classmethod
    def of_cell(cls) -> Notebook:
        """Return the screen of the cell: a new one, but for runs that follow one another within a second."""
        latest = cls._latest
        joins = latest is not None and latest._bar is None and latest._cell == _cell_number()
        if latest is None or not joins or time.monotonic() > latest._due + _SECONDS_TO_JOIN:
            latest = cls._latest = cls()
            cls._flush_after_cells()
        return latest

    @classmethod
    def _flush_after_cells(cls) -> None:
        """Show the last state once the cell is over, if it came too soon after another one."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if shell is not None and not cls._is_flushed_after_cells and hasattr(shell, "events"):
            cls._is_flushed_after_cells = True
            shell.events.register("post_run_cell", lambda *_: cls._flush_latest())

    @classmethod
    def _flush_latest(cls) -> None:
        latest, cls._latest = cls._latest, None
        if latest is not None and latest._is_stale:
            latest._send()

    def start(self, title: str, total: int | None) -> None:
        """Start a phase; see `Screen.start`."""
        self._title, self._total, self._start = title, total or 0, time.monotonic()
        self._set_bar(0, {})

    def is_due(self) -> bool:
        """Return true; see `Screen.is_due`."""
        return True

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """Show how many batches are done; see `Screen.update`."""
        self._set_bar(done, values)

    def epoch(self, line: EpochLine) -> None:
        """Add a row to the table; see `Screen.epoch`."""
        self._table.add(line)
        self._refresh()

    def write(self, text: str) -> None:
        """Add a line of text to the table; see `Screen.write`."""
        self._table.add(text)
        self._refresh()

    def plot(self, history: History) -> None:
        """Show the curves, as a picture if matplotlib is installed; see `Screen.plot`."""
        line = plotting.line(history)
        try:
            with guarded_import("matplotlib.figure"):
                from matplotlib.figure import Figure
        except ModuleNotFoundError:
            if line:
                self.write(line)
            return
        figure, picture = Figure(layout="constrained"), io.BytesIO()
        plotting.plot(history, figure=figure)
        figure.savefig(picture, format="png", dpi=80)
        data = base64.b64encode(picture.getvalue()).decode()
        self._picture = _shown(self._picture, {"image/png": data, "text/plain": line})

    def close(self) -> None:
        """Remove the bar; see `Screen.close`."""
        self._bar = None
        self._refresh()

    def _set_bar(self, done: int, values: Mapping[str, Any]) -> None:
        seconds = time.monotonic() - self._start
        rate = f", {done / seconds:.1f} it/s" if done and seconds > 0 else ""
        shown = "".join(f", {key}={value}" for key, value in values.items())
        of_total = f"{done}/{self._total}" if self._total else str(done)
        self._done = done
        self._bar = f"{self._title}: {of_total} [{seconds:.0f} s{rate}{shown}]"
        self._refresh()

    def _refresh(self) -> None:
        self._is_stale = True
        if time.monotonic() >= self._due:
            self._send()

    def _send(self) -> None:
        if self._text is None and not self._table and self._bar is None:
            return  # a run without lines shows nothing
        markup, plain = self._table.as_html(), self._table.as_text()
        if self._bar is not None:
            share = f'value="{self._done}" max="{self._total}" ' if self._total else ""
            markup += (
                f'<div style="white-space: nowrap"><progress {share}style="vertical-align: middle"></progress> '
                f'<code style="font-size: 90%">{html.escape(self._bar)}</code></div>'
            )
            plain = "\n".join([*plain.splitlines(), self._bar])
        self._text = _shown(self._text, {"text/plain": plain, "text/html": markup})
        self._is_stale, self._due = False, time.monotonic() + SECONDS_BETWEEN_MESSAGES


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, such as Jupyter or VS Code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _cell_number() -> int | None:
    """Return the number of the cell that runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    number: int | None = getattr(shell, "execution_count", None)
    return number


def _shown(place: Any, content: dict[str, Any]) -> Any:
    """Show content in a cell's output: in a new output, or in place of an earlier one; return the output."""
    from IPython.display import display

    if place is None:
        return display(content, raw=True, display_id=True)
    place.update(content, raw=True)
    return place
