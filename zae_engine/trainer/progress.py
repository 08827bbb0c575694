"""Progress: the counts of epochs and steps."""

from __future__ import annotations

from collections.abc import Mapping


class ProgressChecker:
    """Count the epochs and steps of a trainer, over all its runs. Both counts start at 1.

    A step is one batch, trained or tested; an epoch is one finished training epoch of `Trainer.run`.

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
        """Count one step more."""
        self.__step += 1

    def update_epoch(self) -> None:
        """Count one epoch more."""
        self.__epoch += 1

    def get_step(self) -> int:
        """Return the step that comes next: 1 before the first batch."""
        return self.__step

    def get_epoch(self) -> int:
        """Return the epoch that comes next: 1 before the first one is finished."""
        return self.__epoch

    def init_state(self) -> None:
        """Set both counts back to 1."""
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
            ``"step"`` and ``"epoch"``, those that come next: 1 or more.
        """
        step, epoch = int(state_dict["step"]), int(state_dict["epoch"])
        if step < 1 or epoch < 1:
            raise ValueError(f"step={step} and epoch={epoch}: both count from 1.")
        self.__step, self.__epoch = step, epoch

    def __repr__(self) -> str:
        return f"ProgressChecker(step={self.__step}, epoch={self.__epoch})"
