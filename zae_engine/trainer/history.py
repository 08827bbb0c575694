"""History: a record of every epoch of every run, and the loss of every step."""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from .logs.reductions import mean
from .logs.value_buffer import ValueBuffer
from .utilities.atomic_io import atomic_write
from .utilities.import_guard import guarded_import
from .utilities.modes import Mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
_FORMAT = 1
_CHECKSUM = re.compile(rb', "sha256": "([0-9a-f]{64})"}\Z')
MODES: tuple[Mode, ...] = ("train", "test")
_ROWS_SHOWN = 20


class History(Sequence[Record]):
    """A record for each finished training epoch, over all runs, and the loss of each step.

    The history is a sequence of dicts, one for each epoch. Indexed with a name, it returns a column: the value of that
    name in every record. A record contains

    - ``"epoch"``, from 1, and ``"steps"``, the number of training steps up to the end of the epoch;
    - ``"train_<key>"`` and ``"test_<key>"``: the mean of each key that the steps returned, and each metric that is a
      number; ``"test_<key>"`` only after a validation;
    - ``"lr"``, the learning rate of the last step, and ``"seconds"``, the duration of the epoch with its validation;
    - ``"best"``, whether `check_better` returned True for the epoch.

    An interrupted epoch has no record, but the losses of its steps are stored.

    Attributes
    ----------
    losses : dict of str to ValueBuffer
        The loss of every step, for ``"train"`` and for ``"test"``; see `steps`.

    Examples
    --------
    >>> history = History()
    >>> history.add({"epoch": 1, "steps": 2, "train_loss": 0.5, "lr": 0.1, "seconds": 3.0, "best": True})
    >>> history.add({"epoch": 2, "steps": 4, "train_loss": 0.25, "lr": 0.1, "seconds": 3.0, "best": True})
    >>> history["train_loss"], history[-1]["epoch"], len(history)
    ([0.5, 0.25], 2, 2)
    >>> history.best("train_loss")["epoch"]
    2
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self.losses: dict[Mode, ValueBuffer] = {mode: ValueBuffer() for mode in MODES}

    # Reading

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a record by its index, records by a slice, or the values of a name in all records (None if missing).

        Raises
        ------
        KeyError
            If no record has a value of that name.
        IndexError
            If the index is out of range.
        """
        if not isinstance(index, str):
            return self._records[index]
        if index not in self.keys():
            raise KeyError(f"No epoch has {index!r}; there are {', '.join(self.keys()) or 'no epochs'}.")
        return [record.get(index) for record in self._records]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        return self._records == other._records and all(self.steps(mode) == other.steps(mode) for mode in MODES)

    __hash__ = None  # type: ignore[assignment]  # a mutable object

    def __repr__(self) -> str:
        if not self._records:
            return f"History(no epochs, {len(self.losses['train'])} steps)"
        last = {key: round(value, 6) if isinstance(value, float) else value for key, value in self[-1].items()}
        return f"History({len(self)} epochs, {len(self.losses['train'])} steps, last: {last})"

    def _repr_html_(self) -> str:
        """Return a table of the epochs, the best in bold; of a long history the first, the best and the latest."""
        names = self.keys()
        best = max((i for i, record in enumerate(self) if record.get("best")), default=None)
        shown = [i for i in range(len(self)) if i < _ROWS_SHOWN // 2 or i >= len(self) - _ROWS_SHOWN // 2 or i == best]
        rows = ["".join(f"<th>{html.escape(name)}</th>" for name in names)]
        for i in shown:
            cells = (f"<td>{html.escape(_shown(self[i].get(name)))}</td>" for name in names)
            bold = "<td style='font-weight: bold'>" if i == best else "<td>"
            rows.append("".join(cells).replace("<td>", bold))
        left_out = f"<p>{len(self) - len(shown)} more epochs</p>" if len(shown) < len(self) else ""
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>{left_out}" if names else repr(self)

    def keys(self) -> list[str]:
        """Return the names of all values, in the order of their first occurrence."""
        return list(dict.fromkeys(key for record in self._records for key in record))

    def steps(self, mode: Mode = "train") -> list[float]:
        """Return the loss of every step.

        Parameters
        ----------
        mode : {"train", "test"}, optional
            The mode of the steps, by default "train".

        Returns
        -------
        list of float
            One loss for each step, over all runs: the mean of a loss of several numbers, ``nan`` for a loss that is not
            a number.
        """
        if mode not in self.losses:
            raise ValueError(f'Unexpected mode {mode!r}: accepted are "train" and "test".')
        stacked = self.losses[mode].stacked()
        if stacked is not None and stacked.numel() == len(stacked) and not stacked.is_complex():
            values: list[float] = stacked.reshape(-1).double().tolist()
            return values
        return [_float(value) for value in self.losses[mode].read_from(0)]

    def best(self, key: str | None = None, mode: Literal["min", "max"] = "min") -> Record:
        """Return the record of the best epoch.

        Parameters
        ----------
        key : str, optional
            The name of the value that decides; by default the latest epoch for which `check_better` returned True, by
            the trainer's ``monitor``.
        mode : {"min", "max"}, optional
            Whether the value of ``key`` is minimised, by default "min", or maximised.

        Raises
        ------
        ValueError
            If no epoch qualifies, or the mode is unknown.
        KeyError
            If no epoch has a value of that name.
        """
        if key is None:
            records = [record for record in self._records if record.get("best")]
            if records:
                return records[-1]
            raise ValueError("No epoch has been better than another yet.")
        if mode not in ("min", "max"):
            raise ValueError(f'Unexpected mode {mode!r}: accepted are "min" and "max".')
        values = self[key]
        numbers = [(value, i) for i, value in enumerate(values) if isinstance(value, (int, float)) and value == value]
        if not numbers:
            raise ValueError(f"No epoch has a number as {key!r}.")
        if mode == "max":
            return self._records[max(numbers, key=lambda number: number[0])[1]]
        return self._records[min(numbers)[1]]

    # Writing

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch."""
        self._records.append(dict(record))

    def clear(self) -> None:
        """Remove all records and losses."""
        self.assign(History())

    def assign(self, other: History) -> None:
        """Replace the content by that of another history. Lists of losses that were returned stay the same objects."""
        self._records[:] = other._records
        for mode, buffer in self.losses.items():
            buffer.assign(other.losses[mode])

    # Export

    def to_frame(self) -> Any:
        """Return the records as a ``pandas.DataFrame`` with one row for each epoch, indexed by the epoch.

        Raises
        ------
        ModuleNotFoundError
            If pandas is not installed.
        """
        try:
            with guarded_import("pandas"):
                import pandas
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'to_frame needs pandas, which is not installed: pip install "zae-engine[notebook]".', name="pandas"
            ) from error
        frame = pandas.DataFrame(self._records)
        return frame.set_index("epoch") if "epoch" in frame else frame

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the history as JSON, completely or not at all.

        Parameters
        ----------
        filename : path
            The file. Numbers that are not finite are written as ``NaN`` and ``Infinity``, which Python's `json` reads.
            The last entry, ``"sha256"``, is the checksum of the text without it.
        """
        content = {
            "format": _FORMAT,
            "epochs": self._records,
            "losses": {mode: self.steps(mode) for mode in MODES},
        }
        data = json.dumps(content, default=_to_json).encode()
        end = f', "sha256": "{hashlib.sha256(data).hexdigest()}"}}'.encode()
        atomic_write(filename, lambda file: file.write(data[:-1] + end))

    @classmethod
    def load(cls, filename: str | os.PathLike[str]) -> History:
        """Read a history that `save` wrote.

        Parameters
        ----------
        filename : path
            The file.

        Returns
        -------
        History
            A new history. Its losses are float64.

        Raises
        ------
        ValueError
            If the file is not a history, or is damaged.
        """
        with open(filename, "rb") as file:
            data = file.read()
        history = cls()
        try:
            content = json.loads(data)
            _check(data, content)
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}, but {_FORMAT} is expected")
            for record in content["epochs"]:
                if not isinstance(record, dict):
                    raise TypeError(f"{record!r} is no record of an epoch")
                history.add(record)
            for mode in MODES:
                losses = torch.tensor([float(value) for value in content["losses"][mode]], dtype=torch.float64)
                history.losses[mode].extend(loss.clone() for loss in losses.unbind())
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"{os.fspath(filename)} is no history that was written by History.save ({type(error).__name__}: "
                f"{error})."
            ) from error
        return history

    def plot(
        self,
        keys: str | Sequence[str] | None = None,
        ax: Any = None,
        *,
        label: str | None = None,
        title: str | None = None,
    ) -> Figure:
        """Plot the curves of all epochs: train and test in one panel with the best epoch marked.

        A learning rate that changes has a panel below. See `zae_engine.trainer.compare` for several runs in one figure.

        Parameters
        ----------
        keys : str or list of str, optional
            The quantities to plot, ``"loss"`` or ``["loss", "acc"]`` for instance; by default all.
        ax : matplotlib.axes.Axes, or list of these, optional
            The axes to draw on, one for each key; by default a new figure.
        label : str, optional
            The name of the run in the legend; the run then has one colour, and training is dashed.
        title : str, optional
            The title of a new figure, or of the first of the axes that are given.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        KeyError
            If no epoch has a quantity of that name.
        """
        from .plotting import plot

        return plot(self, keys, ax, label=label, title=title)


def _check(data: bytes, content: Any) -> None:
    """Raise an error if the checksum at the end of a file is not that of the file. Old files have none."""
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}")
    if unknown := content.keys() - {"format", "epochs", "losses", "sha256"}:
        raise ValueError(f"it has {sorted(unknown)}, which no history has")
    if "sha256" in content:
        end = _CHECKSUM.search(data)
        if end is None or hashlib.sha256(data[: end.start()] + b"}").hexdigest().encode() != end[1]:
            raise ValueError("it was changed since it was written; remove 'sha256' from it if that was on purpose")


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _float(value: Any) -> float:
    try:
        return mean([value])
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def _to_json(value: Any) -> Any:
    """Return a value that the user has added in a type that JSON supports."""
    if isinstance(value, torch.Tensor) or hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
