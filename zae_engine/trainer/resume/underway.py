"""Going on in the middle of an epoch, where the loader can say where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..log import columns
from .plain import decode, encode

if TYPE_CHECKING:
    from .._trainer import Trainer


def underway(trainer: Trainer, batches: int, position: Any) -> dict[str, Any] | None:
    """Return how far the training epoch in hand has come.

    Parameters
    ----------
    trainer : Trainer
        The trainer, which runs in one process.
    batches : int
        How many batches have been trained.
    position : object
        What the loader's ``state_dict()`` says.

    Returns
    -------
    dict or None
        Plain values, for `go_on`; None if they cannot be had.
    """
    if trainer._zae_state.world is not None:
        return None
    try:
        return {
            "batches": batches,
            "loader": encode(position),
            "log": {str(key): encode(list(values.window(0))) for key, values in columns(trainer.log_train).items()},
            "metrics": encode(trainer._zae_state.metrics.state("train")),
        }
    except TypeError:  # something that no file can hold: the next run begins with a whole epoch
        return None


def can_go_on(trainer: Trainer, loader: Any) -> bool:
    """Whether the next run goes on in the middle of an epoch: one was saved there, and the loader can."""
    waiting = trainer._zae_state.to_resume
    return bool(waiting and waiting.get("underway")) and hasattr(loader, "load_state_dict")


def go_on(trainer: Trainer, loader: Any) -> int:
    """Set loader, log and metrics to where the epoch was, and return how many batches of it have been trained."""
    saved: Mapping[str, Any] = (trainer._zae_state.to_resume or {}).pop("underway")
    loader.load_state_dict(decode(saved["loader"]))
    trainer.log_reset()
    for key, values in saved["log"].items():
        trainer.log_train[key].extend(decode(values))
    trainer._zae_state.metrics.load("train", decode(saved["metrics"]))
    return int(saved["batches"])
