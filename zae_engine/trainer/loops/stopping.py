"""Stopping: what is said where a callback ends a run before its last epoch."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from .._protocol import TrainerProtocol
from ..history import History
from ..optim import result_name
from ..utilities.import_guard import guarded_import

if TYPE_CHECKING:
    from zae_lightning import StopReason


def stop_message(trainer: TrainerProtocol) -> str | None:
    """Return which callback has stopped the run, and why; None if nothing has stopped it.

    Where the patience of an ``EarlyStopping`` was used up by an earlier run, a warning says what to do: Lightning's
    callback counts over all runs, so that it ends every further run at the first epoch that is no better.

    Parameters
    ----------
    trainer : Trainer
        A trainer whose run is over.

    Returns
    -------
    str or None
        Such as ``"stopped by EarlyStopping: val_loss has not improved for 5 epochs; best 0.0412 in epoch 7"``.
    """
    with guarded_import("zae_lightning"):
        import zae_lightning

    reason = zae_lightning.stop_reason(trainer.lightning_trainer)
    if reason is None:
        return None
    if reason.was_used_up:
        _warn_of_used_up_patience(reason)
    text = f"stopped by {reason.name}" + (f": {reason.why}" if reason.why else "")
    return text + _best(reason, trainer._zae_state.records.history)


def _best(reason: StopReason, history: History) -> str:
    """Return the best value of the result that has stopped the run, with its epoch if the history has it."""
    if reason.best is None or reason.monitor is None or not math.isfinite(reason.best):
        return ""
    name = result_name(reason.monitor)
    epochs = [row["epoch"] for row in history if name in row and math.isclose(row[name], reason.best, rel_tol=1e-6)]
    if not epochs:
        return f"; best {reason.best:.4f}"
    counted = (
        history[-1]["epoch"] - reason.n_waited
    )  # several epochs may have the best value, those of earlier runs too
    return f"; best {reason.best:.4f} in epoch {counted if counted in epochs else epochs[0]}"


def _warn_of_used_up_patience(reason: StopReason) -> None:
    warnings.warn(
        f"{reason.name} had used up its patience before this run: {reason.monitor} has not been better than "
        f"{reason.best:.4g} since then, so that the run ends. To train on, give trainer.callbacks a new "
        f"{reason.name}, or set its wait_count = 0.",
        stacklevel=2,
    )
