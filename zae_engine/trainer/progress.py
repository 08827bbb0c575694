"""Progress: the counts of epochs and steps."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any


class ProgressChecker:
    """The number of the next step and of the next epoch, over all runs of a trainer. Both start at 1.

    A step is one trained or tested batch. An epoch is one training epoch of `Trainer.run`.

    Examples
    --------
    >>> progress = ProgressChecker()
    >>> progress.update_step()
    >>> progress.get_step(), progress.get_epoch()
    (2, 1)
    """

    def __init__(self) -> None:
        self.__step = 1
        self.__epoch = 1

    def update_step(self) -> None:
        """Count a step."""
        self.__step += 1

    def update_epoch(self) -> None:
        """Count an epoch."""
        self.__epoch += 1

    def get_step(self) -> int:
        """Return the number of the next step: 1 before the first batch."""
        return self.__step

    def get_epoch(self) -> int:
        """Return the number of the current or next epoch: 1 until the first epoch is finished."""
        return self.__epoch

    def init_state(self) -> None:
        """Reset both counts to 1."""
        self.__step = 1
        self.__epoch = 1

    def state_dict(self) -> dict[str, int]:
        """Return both counts, for `load_state_dict`."""
        return {"step": self.__step, "epoch": self.__epoch}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Set both counts.

        Parameters
        ----------
        state_dict : mapping
            The numbers of the next ``"step"`` and ``"epoch"``, 1 or more.

        Raises
        ------
        ValueError
            If a number is less than 1.
        """
        step, epoch = int(state_dict["step"]), int(state_dict["epoch"])
        if step < 1 or epoch < 1:
            raise ValueError(f"step={step} and epoch={epoch}: both count from 1.")
        self.__step, self.__epoch = step, epoch

    def epochs_to_run(self, n_epoch: Any, until: Any, mode: str) -> Any:
        """Return the number of epochs of a run: ``n_epoch``, or how many there are up to epoch ``until``.

        Parameters
        ----------
        n_epoch : int or None
            The number of epochs.
        until : int or None
            The number of the last epoch, over all runs, in place of ``n_epoch``.
        mode : {"train", "test"}
            The mode of the run.

        Raises
        ------
        TypeError
            If both are given, or neither, or ``until`` is no integer.
        ValueError
            If ``until`` is negative, or given in test mode, whose epochs are not counted.
        """
        if (n_epoch is None) == (until is None):
            raise TypeError(
                f"run() got {'neither' if n_epoch is None else 'both'} n_epoch {'nor' if n_epoch is None else 'and'} "
                f"until. Give one: n_epoch=5 for 5 epochs more, until=20 for the epochs that are left up to the 20th."
            )
        if until is None:
            return n_epoch
        try:
            last = operator.index(until)
        except TypeError:
            raise TypeError(f"until={until!r} is no integer; give the number of the last epoch.") from None
        if last < 0:
            raise ValueError(f"until={until!r} is negative; give the number of the last epoch.")
        if mode == "test":
            raise ValueError("until counts epochs of training, and the trainer is in test mode: give n_epoch.")
        return max(0, last - (self.__epoch - 1))

    def __repr__(self) -> str:
        return f"ProgressChecker(step={self.__step}, epoch={self.__epoch})"
