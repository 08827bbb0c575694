"""Runs: stretches of one label in a sequence of labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Run:
    """A stretch of one label.

    Parameters
    ----------
    start_index, end_index : int
        The first and the last position, counted from 0; the last one belongs to the run.
    value : int
        The label.

    Examples
    --------
    >>> Run(2, 5, 1)
    Run(start_index=2, end_index=5, value=1)
    """

    start_index: int
    end_index: int
    value: int


@dataclass
class RunList:
    """The runs of a sequence.

    Parameters
    ----------
    all_runs : list of Run
        The runs, in order.
    sense : int
        The shortest length that counts.
    original_length : int
        The length of the sequence.
    """

    all_runs: list[Run] = field(default_factory=list)
    sense: int = 1
    original_length: int = 0

    def raw(self) -> list[Run]:
        """Return all runs."""
        return self.all_runs

    def filtered(self) -> list[Run]:
        """Return the runs that are long enough."""
        return [run for run in self.all_runs if run.end_index - run.start_index + 1 >= self.sense]

    def decode(self) -> NDArray[np.int64]:
        """Return the sequence of the runs, with 0 between them."""
        sequence = np.zeros(self.original_length, dtype=np.int64)
        for run in self.all_runs:
            sequence[run.start_index : run.end_index + 1] = run.value
        return sequence


def find_runs(sequence: NDArray[np.int64], sense: int, gap: int) -> RunList:
    """Return the runs of a sequence that are long enough.

    Parameters
    ----------
    sequence : numpy.ndarray
        Labels of shape (L,). Label 0 belongs to no run.
    sense : int
        The shortest length that counts.
    gap : int
        Runs with at most this many positions between them are merged. The merged run has the lowest of their labels,
        and its length decides whether it counts.

    Returns
    -------
    RunList
        The runs.

    Examples
    --------
    >>> find_runs(np.array([0, 1, 1, 0, 0, 0, 2, 0, 3]), sense=1, gap=1).all_runs
    [Run(start_index=1, end_index=2, value=1), Run(start_index=6, end_index=8, value=2)]
    """
    edges = np.flatnonzero(np.diff(sequence)) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(sequence)) - 1
    values = sequence[starts]
    starts, ends, values = (array[values != 0] for array in (starts, ends, values))
    if not len(starts):
        return RunList([], sense, len(sequence))
    is_first = np.append(True, starts[1:] - ends[:-1] - 1 > gap)  # of the runs that are merged
    is_last = np.append(is_first[1:], True)
    lowest = np.minimum.reduceat(values, np.flatnonzero(is_first))
    merged = zip(starts[is_first].tolist(), ends[is_last].tolist(), lowest.tolist(), strict=True)
    runs = RunList([Run(*run) for run in merged], sense, len(sequence))
    runs.all_runs = runs.filtered()
    return runs
