"""Monitor: the result that decides which epoch is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from .optim import result_name


@dataclass(frozen=True)
class Monitor:
    """What makes an epoch better than another.

    Parameters
    ----------
    name : str or None, optional
        The name of a result, ``"test_acc"`` or ``"train_loss"`` for instance; ``"val_acc"`` means ``"test_acc"``. None,
        the default, for the loss: of validation, or of training without validation.
    mode : {"min", "max"}, optional
        Whether a lower value is better, by default "min", or a higher one.

    Raises
    ------
    TypeError, ValueError
        If the name is no name of a result, or the mode is unknown.
    """

    name: str | None = None
    mode: str = "min"

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f'monitor_mode={self.mode!r} is unknown: accepted are "min" and "max".')
        if self.name is None:
            if self.mode == "max":
                raise ValueError(
                    'monitor_mode="max" needs a monitor, since the loss is to be minimised: monitor="test_acc", for '
                    "instance."
                )
            return
        if not isinstance(self.name, str):
            raise TypeError(f"monitor={self.name!r} is no name of a result, such as 'test_acc'.")
        if not self.name.startswith(("train_", "test_", "val_")):
            raise ValueError(
                f"monitor={self.name!r} is no name of a result: these begin with train_, test_ or val_. Did you mean "
                f"'test_{self.name}'?"
            )
        object.__setattr__(self, "name", result_name(self.name))

    def __str__(self) -> str:
        return "the loss" if self.name is None else f"{self.name} ({self.mode})"

    @property
    def worst(self) -> float:
        """The value that every other one is better than."""
        return math.inf if self.mode == "min" else -math.inf

    @property
    def is_of_training(self) -> bool:
        """Whether the result is one of training, so that it needs no validation."""
        return self.name is not None and self.name.startswith("train_")

    def is_better(self, value: Any, best: Any) -> bool:
        """Whether a value is better than the best one so far; ``nan`` and infinity are not."""
        return math.isfinite(value) and bool(value < best if self.mode == "min" else value > best)

    def find(self, results: Mapping[str, Any]) -> Any:
        """Return the value among the results of an epoch; None if it is missing."""
        return results.get(self.name) if self.name is not None else None

    def missing_message(self, results: Mapping[str, Any]) -> str:
        """Return what to say if the value is missing: the names that there are."""
        names = sorted(name for name in map(str, results) if name.startswith(("train_", "test_")))
        return f"monitor={self.name!r} is not among the results of the epoch: {', '.join(names) or 'there are none'}."

    def check_run(self, scheduler: Any, steps_on_batch: bool, has_validation: bool) -> None:
        """Raise `ValueError` if a run cannot have the result, or cannot pass it to the scheduler.

        Parameters
        ----------
        scheduler : object
            The scheduler; a ``ReduceLROnPlateau`` without a ``monitor`` of its own receives the result.
        steps_on_batch : bool
            Whether the scheduler steps after every batch.
        has_validation : bool
            Whether the run has data for validation.
        """
        if self.name is not None and not self.is_of_training and not has_validation:
            raise ValueError(
                f"monitor={self.name!r} is a result of validation, but the run has none. Give a valid_loader, or "
                f"monitor a result of training, 'train_{self.name.removeprefix('test_')}' for instance."
            )
        if not isinstance(scheduler, ReduceLROnPlateau) or getattr(scheduler, "monitor", None) is not None:
            return
        if self.name is not None and steps_on_batch:
            raise ValueError(
                f"A ReduceLROnPlateau that steps after every batch cannot receive {self.name!r}, which is known after "
                f'the epoch. Name what it is to receive of each step: scheduler.monitor = "loss", for instance.'
            )
        if scheduler.mode == self.mode:
            return
        if self.name is None:
            raise ValueError(
                'ReduceLROnPlateau(mode="max") would receive the loss, which is to be minimised. Name what it is to '
                'maximise, one of the results of epochs: scheduler.monitor = "test_acc", for instance; or give '
                'mode="min".'
            )
        raise ValueError(
            f'ReduceLROnPlateau(mode="{scheduler.mode}") would receive {self.name!r}, for which '
            f'monitor_mode="{self.mode}". Give both the same mode, or name what the scheduler is to receive: '
            f'scheduler.monitor = "test_loss", for instance.'
        )


LOSS = Monitor()
"""The default."""
