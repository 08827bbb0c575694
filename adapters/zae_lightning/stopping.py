"""Stopping: the reason for which a callback has stopped a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, Timer

from .foreign_lightning import is_instance


@dataclass
class StopReason:
    """Why a run has stopped early.

    Attributes
    ----------
    name : str
        The callback's class, or the function that has stopped the run.
    why : str
        The reason; empty if it is not known.
    monitor : str or None
        The result that the callback has compared, such as ``"val_loss"``.
    best : float or None
        The best value of that result.
    n_waited : int
        The number of checks since the best one; 0 if something else than patience has ended the run.
    was_used_up : bool
        Whether the patience was used up when the run began, by an earlier one.
    """

    name: str
    why: str = ""
    monitor: str | None = None
    best: float | None = None
    n_waited: int = 0
    was_used_up: bool = False


def stop_reason(lightning_trainer: Any) -> StopReason | None:
    """Return why an ``L.Trainer`` has stopped; None if nothing has stopped it.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        The trainer of the run.
    """
    if not getattr(lightning_trainer, "should_stop", False):
        return None
    source = getattr(lightning_trainer, "stopped_by", None)
    if source is None or isinstance(source, str):
        return StopReason(source or "a callback")
    name = type(source).__name__
    if is_instance(source, Timer):
        seconds = getattr(source, "_duration", None)
        return StopReason(name, f"the time of {timedelta(seconds=seconds)} is over" if seconds is not None else "")
    if not is_instance(source, EarlyStopping):
        return StopReason(name)
    is_checked_once = lightning_trainer.check_val_every_n_epoch == 1 and lightning_trainer.val_check_interval == 1.0
    return _early_stopping(source, name, "epoch" if is_checked_once else "check")


def _early_stopping(callback: Any, name: str, unit: str) -> StopReason:
    best = float(callback.best_score)
    reason = getattr(getattr(callback, "stopping_reason", None), "name", "PATIENCE_EXHAUSTED")
    if reason == "PATIENCE_EXHAUSTED":
        count, least = callback.wait_count, abs(callback.min_delta)
        by = f" by {least:g}" if least else ""
        why = f"{callback.monitor} has not improved{by} for {count} {unit}{'' if count == 1 else 's'}"
        return StopReason(name, why, callback.monitor, best, count, was_used_up=count > max(callback.patience, 1))
    why = {
        "STOPPING_THRESHOLD": f"{callback.monitor} has reached {callback.stopping_threshold}",
        "DIVERGENCE_THRESHOLD": f"{callback.monitor} is beyond {callback.divergence_threshold}",
        "NON_FINITE_METRIC": f"{callback.monitor} is not finite",
    }.get(reason, "")
    return StopReason(name, why, callback.monitor, best)
