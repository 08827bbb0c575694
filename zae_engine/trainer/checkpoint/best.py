"""Best epoch: comparing an epoch with the best one so far, by the loss or by the result that is monitored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from .._protocol import TrainerProtocol
from ..epoch_summary import EpochSummary
from ..monitor import Monitor


def check_epoch(trainer: TrainerProtocol, cur_epoch: int, summary: EpochSummary) -> bool:
    """Call ``trainer.check_better`` with the loss of an epoch, as 0.7.6 does.

    `Trainer.check_better` compares what the trainer monitors, if that is not the loss.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    cur_epoch : int
        The index of the epoch, from 0.
    summary : EpochSummary
        The epoch.

    Raises
    ------
    ValueError
        If no epoch so far has the result that is monitored. If only this one lacks it, a warning says so, and the epoch
        is not better.
    """
    run = trainer._zae_state.run
    run.monitored = _monitored(trainer, summary.record)
    try:
        return bool(trainer.check_better(cur_epoch=cur_epoch, cur_loss=summary.loss))
    finally:
        run.monitored = None


def _monitored(trainer: TrainerProtocol, results: Mapping[str, Any]) -> float | None:
    monitor, history = trainer._zae_state.config.monitor, trainer._zae_state.records.history
    if monitor.name is None:
        return None
    value = monitor.find(results)
    if value is not None:
        return float(value)
    if not any(monitor.name in record for record in history):
        raise ValueError(monitor.missing_message(results))
    warnings.warn(f"{monitor.missing_message(results)} The epoch does not count as better.", stacklevel=2)
    return math.nan


def compared_value(trainer: TrainerProtocol, cur_loss: float) -> float:
    """Return what `Trainer.check_better` compares: the monitored result of the epoch that ends, else its argument."""
    monitored = trainer._zae_state.run.monitored
    return cur_loss if monitored is None else monitored


def is_best_validation(trainer: TrainerProtocol, results: Mapping[str, Any]) -> bool:
    """Whether a validation is the best so far; True while a monitored result of training is not known.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    results : mapping of str to float
        The results of the epoch up to now.
    """
    monitor = trainer._zae_state.config.monitor
    value = results.get("test_loss", math.nan) if monitor.name is None else monitor.find(results)
    if value is None:
        return monitor.is_of_training
    return monitor.is_better(value, trainer.loss_buffer)


def adopt_best(trainer: TrainerProtocol, value: float, saved: Mapping[str, Any] | None) -> float:
    """Return the best value of a loaded state; that of another monitor does not count, and a warning says so.

    Parameters
    ----------
    trainer : Trainer
        The trainer that loads the state.
    value : float
        The best value of the state.
    saved : mapping or None
        Name and mode of the monitor of the state, as `zae_engine.trainer.monitor.Monitor` takes them; None for a state
        of an earlier version, which monitors the loss.
    """
    own, theirs = trainer._zae_state.config.monitor, Monitor(**(saved or {}))
    if own == theirs:
        return value
    warnings.warn(
        f"The loaded state has the best epoch by {theirs}, this trainer chooses by {own}. The best value of the state "
        f"does not count: the next epoch is the best again, and its weights take the place of the state's.",
        stacklevel=2,
    )
    return own.worst
