"""What the package itself keeps on a trainer, in one attribute, so that it meets no name of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ._trainer import Trainer
    from .display import Display


@dataclass
class State:
    """The package's own part of a trainer.

    Attributes
    ----------
    display : Display or None
        What `run` shows, while it runs.
    counts : mapping of str to int
        Lightning's counts of epochs and steps, carried from run to run; see ``adapters/zae_lightning/counts.py``.
    backward : callable or None
        What replaces ``loss.backward()`` while Lightning runs an overridden ``run_batch``.
    step : mapping
        What the latest `run_batch` got from the user's step.
    """

    display: Display | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    backward: Callable[[torch.Tensor], None] | None = None
    step: Mapping[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run under way."""
        return {"display": None, "counts": dict(self.counts), "backward": None, "step": {}}


def is_overridden(trainer: Trainer, name: str) -> bool:
    """Whether a subclass, an add-on or an assignment on the instance has replaced a method of `Trainer`."""
    from ._trainer import Trainer

    return getattr(getattr(trainer, name), "__func__", None) is not getattr(Trainer, name)
