"""Mid-epoch state: save and resume the position within an epoch, for loaders that have a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._protocol import TrainerProtocol
from ..logs.epoch_log import peek, replace
from .encoding import decode, encode


def mid_epoch_state(
    trainer: TrainerProtocol, batches: int, position: Any, has_validated: bool
) -> dict[str, Any] | None:
    """Return the position within the current training epoch, with its log and metrics. The keys are a format on disk.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    batches : int
        The number of batches that have been trained.
    position : object
        The loader's ``state_dict()``; None after the last batch of the epoch.
    has_validated : bool
        Whether a validation has followed the last trained batch.

    Returns
    -------
    dict or None
        Plain values for `resume_mid_epoch`; None with several processes, or if a file cannot hold the values.
    """
    if trainer._zae_state.process.world is not None:
        return None
    try:
        return {
            "batches": batches,
            "is_over": position is None,
            "has_validated": has_validated,
            "loader": encode(position),
            "sizes": {
                str(key): [float(size) for size in values.weights]
                for key, values in peek(trainer.log_train).items()
                if values.weights is not None
            },
            "log": {str(key): encode(list(values.read_from(0))) for key, values in peek(trainer.log_train).items()},
            "metrics": encode(trainer._zae_state.records.metrics.state("train")),
        }
    except TypeError:  # a value that a file cannot hold; the next run then starts with a whole epoch
        return None


def can_resume_mid_epoch(trainer: TrainerProtocol, loader: Any) -> bool:
    """Whether the next run resumes within an epoch: the loaded state is from there, and the loader has a state."""
    saved: Mapping[str, Any] | None = (trainer._zae_state.records.pending_restore or {}).get("underway")
    return saved is not None and (bool(saved["is_over"]) or hasattr(loader, "load_state_dict"))


def resume_mid_epoch(trainer: TrainerProtocol, loader: Any) -> tuple[int, bool, bool]:
    """Restore loader, log and metrics to the saved position within the epoch.

    Returns
    -------
    tuple of (int, bool, bool)
        The number of batches that have been trained, whether the epoch has no further batches, and whether a validation
        has followed the last trained batch.
    """
    saved: Mapping[str, Any] = (trainer._zae_state.records.pending_restore or {})["underway"]
    if not saved["is_over"]:
        loader.load_state_dict(decode(saved["loader"]))
    trainer.log_reset()
    sizes = saved.get("sizes") or {}
    counts_samples = trainer._zae_state.config.epoch_means == "samples"
    log = {key: list(decode(values)) for key, values in saved["log"].items()}
    if counts_samples and sizes:
        replace(trainer.log_train, log, sizes)
    else:
        for key, values in log.items():
            trainer.log_train[key].extend(values)
    trainer._zae_state.records.metrics.load("train", decode(saved["metrics"]))
    return int(saved["batches"]), bool(saved["is_over"]), bool(saved["has_validated"])
