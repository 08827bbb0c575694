"""Going on in the middle of an epoch, where the loader can say where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._protocol import TrainerProtocol
from ..logs.epoch_log import peek
from .encoding import decode, encode


def mid_epoch_state(
    trainer: TrainerProtocol, batches: int, position: Any, has_validated: bool
) -> dict[str, Any] | None:
    """Return how far the training epoch in hand has come.

    Parameters
    ----------
    trainer : Trainer
        The trainer, which runs in one process.
    batches : int
        How many batches have been trained.
    position : object
        What the loader's ``state_dict()`` says; None if these were all batches of the epoch.
    has_validated : bool
        Whether a validation has followed the last of them.

    Returns
    -------
    dict or None
        Plain values, for `resume_mid_epoch`; None if they cannot be had.
    """
    if trainer._zae_state.process.world is not None:
        return None
    try:
        return {
            "batches": batches,
            "is_over": position is None,
            "has_validated": has_validated,
            "loader": encode(position),
            "log": {str(key): encode(list(values.read_from(0))) for key, values in peek(trainer.log_train).items()},
            "metrics": encode(trainer._zae_state.records.metrics.state("train")),
        }
    except TypeError:  # something that no file can hold: the next run begins with a whole epoch
        return None


def can_resume_mid_epoch(trainer: TrainerProtocol, loader: Any) -> bool:
    """Whether the next run goes on in the middle of an epoch: one was saved there, and the loader can."""
    saved: Mapping[str, Any] | None = (trainer._zae_state.records.pending_restore or {}).get("underway")
    return saved is not None and (bool(saved["is_over"]) or hasattr(loader, "load_state_dict"))


def resume_mid_epoch(trainer: TrainerProtocol, loader: Any) -> tuple[int, bool, bool]:
    """Set loader, log and metrics to where the epoch was.

    Returns
    -------
    tuple
        How many batches of it have been trained, whether these were all, and whether a validation has followed.
    """
    saved: Mapping[str, Any] = (trainer._zae_state.records.pending_restore or {})["underway"]
    if not saved["is_over"]:
        loader.load_state_dict(decode(saved["loader"]))
    trainer.log_reset()
    for key, values in saved["log"].items():
        trainer.log_train[key].extend(decode(values))
    trainer._zae_state.records.metrics.load("train", decode(saved["metrics"]))
    return int(saved["batches"]), bool(saved["is_over"]), bool(saved["has_validated"])
