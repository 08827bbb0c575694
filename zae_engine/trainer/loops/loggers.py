"""Loggers: passing the steps, epochs and hyper-parameters of a trainer to its loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import checks
from .._protocol import TrainerProtocol
from ..distributed.world import is_rank_zero
from ..logs.logger_connector import hyperparameters
from ..optim import learning_rate


def active_loggers(trainer: TrainerProtocol) -> list[Any]:
    """Return the Lightning loggers of a trainer on rank 0; a subclass may use ``loggers`` for something else.

    There are none in a run with ``fast_dev_run``, which leaves no trace.
    """
    state = trainer._zae_state
    loggers = trainer.loggers if is_rank_zero(state.process.world) and not state.run.is_trial else []
    return [logger for logger in loggers if hasattr(logger, "log_metrics")] if isinstance(loggers, list) else []


def log_hyperparams(trainer: TrainerProtocol) -> None:
    """Log the trainer's hyper-parameters, once to each logger."""
    if loggers := active_loggers(trainer):
        settings = {
            "mode": trainer.mode,
            "scheduler_step_on_batch": trainer.scheduler_step_on_batch,
            "gradient_clip": trainer.gradient_clip,
            "batch_size": trainer.batch_size,
        }
        values = hyperparameters(trainer.model, trainer.optimizer, trainer.scheduler, settings)
        trainer._zae_state.records.logger_connector.log_hyperparams_once(loggers, values)


def log_train_step(trainer: TrainerProtocol, step_dict: Mapping[Any, Any]) -> None:
    """Count a training step, and log it with the learning rate of its update."""
    state = trainer._zae_state
    if state.batch.is_accumulated:  # loggers count updates, as Lightning's
        return
    connector = state.records.logger_connector
    connector.count_step()
    if trainer.loggers and not state.run.depth:
        checks.lightning_objects(trainer)
        log_hyperparams(trainer)
    if trainer.loggers and (loggers := active_loggers(trainer)):
        rate = state.batch.update_lr
        lr = learning_rate(trainer.optimizer) if rate is None else rate
        connector.log_step(loggers, step_dict, lr, may_wait=state.run.depth > 0)


def log_epoch(trainer: TrainerProtocol, results: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
    """Count an epoch, and log its results: in test mode its means, in both modes the metrics."""
    connector = trainer._zae_state.records.logger_connector
    connector.log_epoch(active_loggers(trainer), trainer.mode, results, metrics)


def save_loggers(trainer: TrainerProtocol) -> None:
    """Write out what the loggers hold."""
    trainer._zae_state.records.logger_connector.save(active_loggers(trainer))
