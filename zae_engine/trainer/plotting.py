"""Plotting: the curves of a history with matplotlib, and as a line of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

import numpy as np

from .utilities.import_guard import guarded_import
from .utilities.modes import Mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"train": "#1f77b4", "test": "#d95f02"}
_BARS = "▁▂▃▄▅▆▇█"
_LIMITED: WeakSet[Any] = WeakSet()
"""The axes whose limits a plot has set, which those of later runs widen; limits that the user has set stay."""
_NOT_PLOTTED = ("epoch", "steps", "lr", "seconds", "best")


class HistoryLike(Protocol):
    """The attributes of a history that a plot reads; `zae_engine.trainer.history.History` implements it."""

    @property
    def losses(self) -> Mapping[Mode, Any]:
        """The losses of all steps, by mode."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the records of the epochs."""

    def __len__(self) -> int:
        """Return the number of epochs."""

    def keys(self) -> Iterable[str]:
        """Return the names in the records."""

    def steps(self, mode: Mode = "train") -> Sequence[float]:
        """Return the loss of every step."""


def plot(
    history: HistoryLike,
    keys: str | Sequence[str] | None = None,
    ax: Any = None,
    figure: Any = None,
    label: str | None = None,
    title: str | None = None,
) -> Figure:
    """Plot a history; see `History.plot`.

    Parameters
    ----------
    history : History
        The history.
    keys : str or list of str, optional
        The quantities to plot; by default all.
    ax : matplotlib.axes.Axes, or list of these, optional
        The axes to draw on, one for each key.
    figure : matplotlib.figure.Figure, optional
        A figure to clear and draw on; by default a new figure.
    label : str, optional
        The name of the run in the legend.
    title : str, optional
        The title of the figure; of the first of the user's axes, if there are any.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    chosen = selected(quantities(history), keys, "There is nothing to plot as {}")
    if ax is not None:
        given = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
        return _draw_on(given, history, chosen, label, title, needs_all=keys is not None)
    rates = {value for value in _column(history, "lr") if not math.isnan(value)}
    shows_rate = len(rates) > 1  # a constant rate needs no panel
    figure, axes = new_figure([3.0] * max(len(chosen), 1) + [1.2] * shows_rate, figure)
    for axis, key in zip(axes, chosen, strict=False):
        _draw_curves(axis, history, key, label)
    if not chosen:
        say_nothing_to_plot(axes[0])
    if shows_rate:
        _draw_learning_rate(axes[-1], history)
    axes[-1].set_xlabel("epoch")
    figure.align_ylabels(axes)
    if title is not None:
        figure.suptitle(title)
    returned: Figure = figure
    return returned


def new_figure(heights: Sequence[float], figure: Any = None) -> tuple[Any, Any]:
    """Return a figure with a panel below another for each height, and the panels.

    Parameters
    ----------
    heights : sequence of float
        The relative heights of the panels.
    figure : matplotlib.figure.Figure, optional
        A figure to clear and draw on; by default a new figure.
    """
    pyplot = _pyplot() if figure is None else None
    figure = figure if pyplot is None else pyplot.figure(layout="constrained")
    figure.clear()
    figure.set_size_inches(7.0, 0.8 + 0.85 * sum(heights))
    axes = np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights)))
    if pyplot is not None and figure.canvas.required_interactive_framework is None:  # the backend opens no window
        pyplot.close(figure)  # otherwise a notebook shows the figure twice, and a script keeps it in memory
    return figure, axes


def say_nothing_to_plot(axis: Any) -> None:
    """Write on an axis that there is nothing to plot."""
    axis.text(0.5, 0.5, "no epoch yet", ha="center", va="center", transform=axis.transAxes)


def _draw_on(
    axes: list[Any], history: HistoryLike, keys: list[str], label: str | None, title: str | None, needs_all: bool
) -> Figure:
    """Draw on the user's axes; raise `ValueError` if all keys are needed and the axes are too few."""
    if needs_all and len(axes) < len(keys):
        raise ValueError(f"{len(axes)} axes are given for {len(keys)} keys; give one for each.")
    for axis, key in zip(axes, keys, strict=False):
        _draw_curves(axis, history, key, label)
        axis.set_xlabel("epoch")
    if not keys:
        say_nothing_to_plot(axes[0])
    if title is not None:
        axes[0].set_title(title)
    figure: Figure = axes[0].figure
    return figure


def quantities(history: HistoryLike) -> list[str]:
    """Return the plottable quantities: the names in a history without ``train_`` and ``test_``, loss first."""
    names = [key.removeprefix("train_").removeprefix("test_") for key in history.keys() if key not in _NOT_PLOTTED]  # noqa: SIM118
    names = [name for name in dict.fromkeys(names) if any(_has_numbers(history, mode, name) for mode in _COLOURS)]
    if not names and len(history.losses["train"]):
        names = ["loss"]
    return sorted(names, key=lambda name: name != "loss")


def line(history: HistoryLike, width: int = 30) -> str:
    """Return the losses of all epochs as one line of text, such as ``train_loss █▅▃▂▁ 0.31``."""
    texts = []
    for mode in _COLOURS:
        values = [value for value in _column(history, f"{mode}_loss") if math.isfinite(value)]
        if values:
            texts.append(f"{mode}_loss {_bars(values[-width:])} {values[-1]:.4g}")
    return "   ".join(texts)


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


def _draw_curves(axis: Any, history: HistoryLike, key: str, label: str | None = None) -> None:
    epochs = _column(history, "epoch")
    colours, styles = _COLOURS, {"train": "-", "test": "-"}
    if label is not None:  # a run among others: one colour for it
        colours = dict.fromkeys(_COLOURS, axis.plot([], [])[0].get_color())
        styles = {"train": "--", "test": "-"}
    elif key == "loss":
        _draw_step_losses(axis, history)
    drawn = [value for mode in colours for value in _column(history, f"{mode}_{key}") if math.isfinite(value)]
    if drawn and axis in _LIMITED:
        _widen(axis, min(drawn), max(drawn))
    for mode, colour in colours.items():
        if _has_numbers(history, mode, key):
            marker = "o" if len(history) <= 40 else None
            axis.plot(
                epochs,
                _column(history, f"{mode}_{key}"),
                styles[mode],
                color=colour,
                marker=marker,
                markersize=3.5,
                label=mode if label is None else f"{label}, {mode}",
            )
    best = [i for i, record in enumerate(history) if record.get("best")]
    if best:
        mode = "test" if _has_numbers(history, "test", key) else "train"
        epoch, value = epochs[best[-1]], _column(history, f"{mode}_{key}")[best[-1]]
        axis.axvline(epoch, color="0.6", linestyle=":", linewidth=1)
        if math.isfinite(value):
            best_label = f"best epoch {epoch:.0f}: {value:.4g}"
            colour = "#2ca02c" if label is None else colours["test"]
            axis.plot([epoch], [value], "*", color=colour, markersize=11, label=best_label, zorder=5)
    axis.set_ylabel(key)
    axis.grid(True, alpha=0.25)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize="small")
    integer_ticks(axis)


def _draw_step_losses(axis: Any, history: HistoryLike) -> None:
    """Draw the smoothed losses of the training steps behind the curves, on the epochs' axis."""
    has_no_curves = not axis.lines
    losses = np.asarray(history.steps("train"), dtype=float)
    if len(losses) < 8:
        return
    last_steps = np.asarray([0.0, *_column(history, "steps")])
    epochs = np.asarray([0.0, *_column(history, "epoch")])
    steps = np.arange(1, len(losses) + 1, dtype=float)
    is_finite = np.isfinite(last_steps)
    last_steps, epochs = last_steps[is_finite], epochs[is_finite]
    x = np.interp(steps, last_steps, epochs)
    is_unfinished = steps > last_steps[-1]  # steps of an interrupted epoch, or of the current one
    per_epoch = np.diff(last_steps)[-1] if len(last_steps) > 1 else len(losses)
    x[is_unfinished] = epochs[-1] + (steps[is_unfinished] - last_steps[-1]) / max(per_epoch, 1.0)
    smooth = _smooth(losses, max(len(losses) // 100, 5))
    every = max(len(losses) // 2000, 1)
    axis.plot(
        x[::every], smooth[::every], color=_COLOURS["train"], alpha=0.3, linewidth=1, label="train steps, smoothed"
    )
    finite = smooth[np.isfinite(smooth)]
    if len(finite) > 20 and len(history):  # the high losses of the first steps do not determine the scale
        epoch_losses = [v for mode in _COLOURS for v in _column(history, f"{mode}_loss") if math.isfinite(v)]
        low = min([*epoch_losses, np.quantile(finite, 0.01)])
        high = max([*epoch_losses, np.quantile(finite, 0.99)])
        if high > low and has_no_curves and axis.get_autoscaley_on():
            _LIMITED.add(axis)
            axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _widen(axis: Any, low: float, high: float) -> None:
    """Widen the limits of an axis so that they contain two values."""
    bottom, top = axis.get_ylim()
    margin = 0.05 * (max(high, top) - min(low, bottom))
    axis.set_ylim(bottom if low >= bottom else low - margin, top if high <= top else high + margin)


def _smooth(values: Any, width: int) -> Any:
    """Return the moving average over the last ``width`` values at most, without those that are not finite."""
    is_finite = np.isfinite(values)
    sums = np.cumsum(np.where(is_finite, values, 0.0))
    counts = np.cumsum(is_finite)
    sums[width:], counts[width:] = sums[width:] - sums[:-width].copy(), counts[width:] - counts[:-width].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / counts


def _draw_learning_rate(axis: Any, history: HistoryLike) -> None:
    rates = _column(history, "lr")
    axis.step(_column(history, "epoch"), rates, where="mid", color="0.35")
    axis.set_ylabel("learning rate")
    axis.grid(True, alpha=0.25)
    positive = [rate for rate in rates if rate > 0]
    if positive and max(positive) > 30 * min(positive):
        axis.set_yscale("log")
    else:
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    integer_ticks(axis)


def integer_ticks(axis: Any) -> None:
    """Let the ticks of an epoch axis stand at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def selected(available: list[str], keys: str | Sequence[str] | None, complaint: str) -> list[str]:
    """Return the quantities that the user asks for; all with None.

    Raises
    ------
    KeyError
        If one is not available; the message begins with ``complaint``, in which ``{}`` stands for its name.
    """
    if keys is None:
        return available
    chosen = [keys] if isinstance(keys, str) else list(keys)
    for key in chosen:
        if key not in available:
            raise KeyError(f"{complaint.format(repr(key))}; there are {', '.join(available) or 'no epochs'}.")
    return chosen


def _column(history: HistoryLike, key: str) -> list[float]:
    return [to_number(record.get(key)) for record in history]


def to_number(value: Any) -> float:
    """Return a number as float, and ``nan`` for anything else."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def _has_numbers(history: HistoryLike, mode: str, key: str) -> bool:
    return any(not math.isnan(value) for value in _column(history, f"{mode}_{key}"))


def _pyplot() -> Any:
    try:
        with guarded_import("matplotlib.pyplot"):
            from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Plots need matplotlib, which is not installed: pip install "zae-engine[notebook]".', name="matplotlib"
        ) from error
    return pyplot
