"""Comparison: the curves and the best epochs of several runs, side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, overload

from .history import History
from .plotting import integer_ticks, new_figure, quantities, say_nothing_to_plot, selected, to_number
from .utilities.import_guard import guarded_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_STYLES = {"train": "--", "test": "-"}


class HasLosses(Protocol):
    """A trainer for type checkers; a subclass may use the name ``history`` for something else."""

    @property
    def get_loss_history(self) -> Callable[..., list[Any]]:
        """The method that returns the loss of every step."""


Run = Union[HasLosses, History, str, "os.PathLike[str]"]


@overload
def compare(
    runs: Mapping[str, Run],
    keys: str | Sequence[str] | None = None,
    *,
    table: Literal[False] = False,
    title: str | None = None,
) -> Figure: ...
@overload
def compare(
    runs: Mapping[str, Run],
    keys: str | Sequence[str] | None = None,
    *,
    table: Literal[True],
) -> DataFrame: ...
def compare(
    runs: Mapping[str, Run],
    keys: str | Sequence[str] | None = None,
    *,
    table: bool = False,
    title: str | None = None,
) -> Any:
    """Compare runs: one panel for each quantity, one colour for each run, training dashed and testing solid.

    Parameters
    ----------
    runs : mapping of str to Trainer, History or path
        The runs by the names that the legend shows: trainers, their histories, or files that `History.save` wrote.
    keys : str or list of str, optional
        The quantities, ``"loss"`` or ``["loss", "acc"]`` for instance; by default all that any run has.
    table : bool, optional
        Whether to return a table of the best epochs in place of the figure, by default False.
    title : str, optional
        The title of the figure.

    Returns
    -------
    matplotlib.figure.Figure or pandas.DataFrame
        The figure; or the table, a row for each run: its best epoch, the results of that epoch, the number of its
        epochs, and the seconds that they took.

    Raises
    ------
    TypeError
        If the runs are no mapping of such objects.
    KeyError
        If no run has a quantity of that name.
    ValueError
        If a title is given for a table, which has none.
    ModuleNotFoundError
        If matplotlib, or pandas for the table, is not installed.

    Examples
    --------
    >>> from zae_engine.trainer import History, compare
    >>> slow, fast = History(), History()
    >>> for epoch in (1, 2, 3):
    ...     slow.add({"epoch": epoch, "test_loss": 3.0 / epoch, "best": True})
    ...     fast.add({"epoch": epoch, "test_loss": 1.0 / epoch, "best": True})
    >>> compare({"lr 0.01": slow, "lr 0.1": fast}, table=True)["test_loss"].to_dict()
    {'lr 0.01': 1.0, 'lr 0.1': 0.3333333333333333}
    """
    if table and title is not None:
        raise ValueError(f"title={title!r} is the title of a figure, but table=True asks for a table: leave one out.")
    histories = _histories(runs)
    chosen = _chosen(histories, keys)
    return _table(histories, chosen) if table else _figure(histories, chosen, title)


def _histories(runs: Any) -> dict[str, History]:
    if not isinstance(runs, Mapping) or not runs:
        raise TypeError(
            f"runs={runs!r:.100} is no dict of names and runs, such as "
            f'{{"lr 0.1": first_trainer, "lr 0.01": second_trainer}}.'
        )
    return {str(name): _history(name, run) for name, run in runs.items()}


def _history(name: Any, run: Any) -> History:
    if isinstance(run, (str, os.PathLike)):
        return History.load(run)
    history = run if isinstance(run, History) else getattr(run, "history", None)
    if not isinstance(history, History):
        raise TypeError(
            f"The run {name!r} is of type {type(run).__name__}. Give a trainer, a History, or a file of History.save."
        )
    return history


def _chosen(histories: Mapping[str, History], keys: str | Sequence[str] | None) -> list[str]:
    available = list(dict.fromkeys(key for history in histories.values() for key in quantities(history)))
    available.sort(key=lambda key: key != "loss")
    return selected(available, keys, "No run has {}")


def _figure(histories: Mapping[str, History], keys: Sequence[str], title: str | None) -> Figure:
    figure, axes = new_figure([3.0] * max(len(keys), 1))
    if not keys:
        say_nothing_to_plot(axes[0])
    names = list(histories)
    colours = _colours(len(names))
    modes = set()
    for axis, key in zip(axes, keys, strict=False):
        for colour, history in zip(colours, histories.values(), strict=True):
            modes |= _draw(axis, history, key, colour)
        axis.set_ylabel(key)
        axis.grid(True, alpha=0.25)
        integer_ticks(axis)
    axes[-1].set_xlabel("epoch")
    figure.align_ylabels(list(axes))
    if modes:
        _add_legend(figure, names, colours, modes)
    if title is not None:
        figure.suptitle(title)
    finished: Figure = figure
    return finished


def _draw(axis: Any, history: History, key: str, colour: Any) -> set[str]:
    """Draw the curves of a run, and mark its best epoch; return the modes that it has."""
    epochs = [to_number(record.get("epoch")) for record in history]
    marker = "o" if len(history) <= 40 else None
    drawn, best = set(), None
    for mode, style in _STYLES.items():
        values = [to_number(record.get(f"{mode}_{key}")) for record in history]
        if any(math.isfinite(value) for value in values):
            axis.plot(epochs, values, style, color=colour, marker=marker, markersize=3, linewidth=1.5)
            drawn.add(mode)
            marked = [i for i, record in enumerate(history) if record.get("best") and math.isfinite(values[i])]
            best = (epochs[marked[-1]], values[marked[-1]]) if marked else best
    if best is not None:  # the last mode drawn is testing, where there is any
        axis.plot(*best, "*", color=colour, markersize=12, markeredgecolor="black", markeredgewidth=0.6, zorder=5)
    return drawn


def _add_legend(figure: Any, names: Sequence[str], colours: Sequence[Any], modes: set[str]) -> None:
    from matplotlib.lines import Line2D

    entries = [Line2D([], [], color=colour, label=name) for name, colour in zip(names, colours, strict=True)]
    entries += [Line2D([], [], color="0.35", linestyle=_STYLES[mode], label=mode) for mode in _STYLES if mode in modes]
    star = Line2D([], [], color="0.75", label="best epoch", marker="*", linestyle="", markersize=10)
    star.set(markeredgecolor="black", markeredgewidth=0.6)
    entries.append(star)
    columns = min(len(entries), 4)
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def _colours(number: int) -> list[Any]:
    import matplotlib

    listed: Any = matplotlib.colormaps["tab10"]
    few = listed.colors
    if number <= len(few):
        return list(few[:number])
    return [matplotlib.colormaps["turbo"](0.05 + 0.9 * i / (number - 1)) for i in range(number)]


def _table(histories: Mapping[str, History], keys: Sequence[str]) -> Any:
    try:
        with guarded_import("pandas"):
            import pandas
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'The table needs pandas, which is not installed: pip install "zae-engine[notebook]".', name="pandas"
        ) from error
    columns = [f"{mode}_{key}" for key in keys for mode in _STYLES]
    rows = []
    for history in histories.values():
        best = next((record for record in reversed(list(history)) if record.get("best")), {})
        row = {"best epoch": best.get("epoch"), **{name: best.get(name) for name in columns}, "lr": best.get("lr")}
        seconds = sum(to_number(record.get("seconds")) for record in history if record.get("seconds") is not None)
        rows.append({**row, "epochs": len(history), "seconds": seconds})
    frame = pandas.DataFrame(rows, index=pandas.Index(histories, name="run"))
    return frame.dropna(axis="columns", how="all")
