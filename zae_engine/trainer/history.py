"""The history of a trainer: what every epoch of every run came to, and the loss of every step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch

from .logs.reductions import mean
from .logs.value_buffer import ValueBuffer
from .utilities.atomic_io import atomic_write
from .utilities.import_guard import guarded_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
_FORMAT = 1
MODES = ("train", "test")


class History(Sequence[Record]):
    """A record for each epoch that was trained, over all runs, and the loss of each step.

    It is read like a list of dicts; with a name in place of a number, like a table's column. A record holds

    - ``"epoch"``, from 1, and ``"steps"``, the number of training steps up to its end;
    - ``"train_<key>"`` and ``"test_<key>"``, the mean of each key that the steps returned and each metric that is a
      number, ``"test_..."`` only where there was a validation;
    - ``"lr"``, the learning rate of its last step, and ``"seconds"``, the time that it took, validation included;
    - ``"best"``, whether `check_better` called it better than all before.

    An epoch that was broken off has no record, but its steps have their losses.

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
        self.losses: dict[str, ValueBuffer] = {mode: ValueBuffer() for mode in MODES}

    # Reading

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a record by its place, records by a slice, or by a name its value in every record (None: not there).

        Raises
        ------
        KeyError
            If no record has a value of that name.
        IndexError
            If there is no such record.
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

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        if not self._records:
            return f"History(no epochs, {len(self.losses['train'])} steps)"
        last = {key: round(value, 6) if isinstance(value, float) else value for key, value in self[-1].items()}
        return f"History({len(self)} epochs, {len(self.losses['train'])} steps, last: {last})"

    def keys(self) -> list[str]:
        """Return the names of all values, in the order in which they came up."""
        return list(dict.fromkeys(key for record in self._records for key in record))

    def steps(self, mode: str = "train") -> list[float]:
        """Return the loss of every step.

        Parameters
        ----------
        mode : {"train", "test"}, optional
            Whose, by default "train".

        Returns
        -------
        list of float
            One a step, over all runs; the mean of a loss of several numbers, ``nan`` for one that is no number.
        """
        if mode not in self.losses:
            raise ValueError(f'Unexpected mode {mode!r}: accepted are "train" and "test".')
        stacked = self.losses[mode].stacked()
        if stacked is not None and stacked.numel() == len(stacked) and not stacked.is_complex():
            values: list[float] = stacked.reshape(-1).double().tolist()
            return values
        return [_float(value) for value in self.losses[mode].read_from(0)]

    def best(self, key: str | None = None) -> Record:
        """Return the record of the best epoch.

        Parameters
        ----------
        key : str, optional
            The value that shall be lowest; by default the latest epoch that `check_better` called better.

        Raises
        ------
        ValueError
            If there is no such epoch.
        KeyError
            If no epoch has a value of that name.
        """
        if key is None:
            records = [record for record in self._records if record.get("best")]
            if records:
                return records[-1]
            raise ValueError("No epoch has been better than another yet.")
        values = self[key]
        numbers = [(value, i) for i, value in enumerate(values) if isinstance(value, (int, float)) and value == value]
        if not numbers:
            raise ValueError(f"No epoch has a number as {key!r}.")
        return self._records[min(numbers)[1]]

    # Writing

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch."""
        self._records.append(dict(record))

    def clear(self) -> None:
        """Forget everything."""
        self.assign(History())

    def assign(self, other: History) -> None:
        """Become what another history is; lists of losses that were handed out stay the same objects."""
        self._records[:] = other._records
        for mode, series in self.losses.items():
            series.assign(other.losses[mode])

    # Elsewhere

    def to_frame(self) -> Any:
        """Return the records as a ``pandas.DataFrame``, a row an epoch, indexed by the epoch.

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
        """Write the history as JSON, at once or not at all.

        Parameters
        ----------
        filename : path
            The file. Numbers that are not finite are written as ``NaN`` and ``Infinity``, as Python reads them.
        """
        content = {
            "format": _FORMAT,
            "epochs": self._records,
            "losses": {mode: self.steps(mode) for mode in MODES},
        }
        text = json.dumps(content, default=_plain)
        atomic_write(filename, lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, filename: str | os.PathLike[str]) -> History:
        """Read what `save` wrote.

        Parameters
        ----------
        filename : path
            The file.

        Returns
        -------
        History
            A new one; its losses are float64.

        Raises
        ------
        ValueError
            If the file is none of a history.
        """
        with open(filename, "rb") as file:
            data = file.read()
        history = cls()
        try:
            content = json.loads(data)
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

    def plot(self, keys: str | Sequence[str] | None = None, ax: Any = None) -> Figure:
        """Plot the curves of all epochs: train and test together, the best epoch marked, the learning rate beneath.

        Parameters
        ----------
        keys : str or list of str, optional
            What to plot, ``"loss"`` or ``["loss", "acc"]``; by default everything.
        ax : matplotlib.axes.Axes, or list of these, optional
            Where to draw, one for each key; by default a new figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        KeyError
            If there is nothing of that name.
        """
        from .plotting import plot

        return plot(self, keys, ax)


def _float(value: Any) -> float:
    try:
        return mean([value])
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value that a user has added."""
    if isinstance(value, torch.Tensor) or hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
