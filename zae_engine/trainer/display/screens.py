"""Screens: a tqdm bar and lines on stderr, or in a notebook one output of the cell."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .. import plotting
from ..utilities.import_guard import guarded_import

if TYPE_CHECKING:
    from ..history import History


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
    return Notebook() if is_notebook() else Terminal()


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, be it Jupyter's or VS Code's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class Terminal:
    """A `Screen` on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, title: str, total: int | None) -> None:
        """As `Screen.start`."""
        if self._bar is None:
            self._bar = self._new_bar()(total=total, desc=title, dynamic_ncols=True, file=sys.stderr, leave=False)
        else:
            self._bar.set_description(title, refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.reset(total=total)

    def _new_bar(self) -> Any:
        from tqdm import tqdm

        return tqdm

    def update(self, done: int, values: Mapping[str, Any]) -> None:
        """As `Screen.update`."""
        self._bar.n = done
        self._bar.set_postfix(values, refresh=False)
        self._bar.refresh()

    def write(self, text: str) -> None:
        """As `Screen.write`."""
        if self._bar is not None:
            self._bar.clear()
        sys.stderr.write(f"{text}\n")  # in one piece, also where runs go on in several threads

    def plot(self, history: History) -> None:
        """As `Screen.plot`, in a line of text."""
        if text := plotting.line(history):
            self.write(text)

    def close(self) -> None:
        """As `Screen.close`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Notebook(Terminal):
    """A `Screen` in the output of a cell: tqdm's widget, and one place each for the lines and the plot.

    Of many lines it shows the first ones and the latest, so that a long run does not fill the notebook.
    """

    FIRST, LATEST = 2, 8

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._text: Any = None
        self._picture: Any = None

    def _new_bar(self) -> Any:
        try:
            with guarded_import("tqdm.notebook"):
                import ipywidgets  # noqa: F401  # without it tqdm's own import of the widget ends in a warning
                from tqdm.notebook import tqdm
        except ImportError:
            return super()._new_bar()
        return tqdm

    def close(self) -> None:
        """As `Screen.close`; ipywidgets would keep the parts of the widget."""
        parts = getattr(getattr(self._bar, "container", None), "children", ())
        super().close()
        for part in parts:
            part.close()

    def write(self, text: str) -> None:
        """As `Screen.write`."""
        self._lines.append(text)
        lines = self._lines
        if len(lines) > self.FIRST + self.LATEST:
            left_out = f"… {len(lines) - self.FIRST - self.LATEST} more …"
            lines = [*lines[: self.FIRST], left_out, *lines[-self.LATEST :]]
        plain = "\n".join(lines)
        style = "margin: 0; line-height: 1.35"
        self._text = _shown(
            self._text, {"text/plain": plain, "text/html": f'<pre style="{style}">{html.escape(plain)}</pre>'}
        )

    def plot(self, history: History) -> None:
        """As `Screen.plot`, as a picture if matplotlib is there."""
        try:
            with guarded_import("matplotlib.figure"):
                from matplotlib.figure import Figure
        except ModuleNotFoundError:
            super().plot(history)
            return
        figure, picture = Figure(layout="constrained"), io.BytesIO()
        plotting.plot(history, figure=figure)
        figure.savefig(picture, format="png", dpi=80)
        data = base64.b64encode(picture.getvalue()).decode()
        self._picture = _shown(self._picture, {"image/png": data, "text/plain": plotting.line(history)})


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


def _shown(place: Any, content: dict[str, Any]) -> Any:
    """Show something in a cell's output, in a place of its own or in that of before; return the place."""
    from IPython.display import display

    if place is None:
        return display(content, raw=True, display_id=True)
    place.update(content, raw=True)
    return place
