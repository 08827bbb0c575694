"""Feeding loggers with what the steps and epochs gave."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import UninitializedParameter

from .means import learning_rate
from .ranks.world import is_first
from .results import fetched, singles

if TYPE_CHECKING:
    from ._trainer import Trainer

MAX_WAITING = 256
"""How many steps may wait to be logged."""
WAITING_SECONDS = 1.0


class LoggerFeed:
    """Hands every training step and every test epoch to a trainer's loggers, in order.

    At once, if its values are on the CPU; from another device, reading a value makes the processor wait, so that steps
    are handed over in groups: once a second, and at the end of an epoch or of a run, however it ends.

    A training step is logged under its own names (``loss``, ``acc``) with the learning rate that it was made with as
    ``lr``; a test epoch as means, ``test_<name>``; metrics as ``train_<name>`` and ``test_<name>``. The step number
    goes up by one a training batch and never back, over all runs.

    A logger that fails costs one warning, not the run.
    """

    def __init__(self) -> None:
        self.step = 0
        self.epochs = 0
        self._latest_epoch_step = {"train": -1, "test": -1}
        self._failed: list[Any] = []
        self._introduced: list[Any] = []
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self._due = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process: the loggers, and what waits for them."""
        return {**self.__dict__, "_failed": [], "_introduced": [], "_waiting": []}

    def state(self) -> dict[str, Any]:
        """Return the counts that loggers' steps go by."""
        return {"step": self.step, "epochs": self.epochs, "latest": dict(self._latest_epoch_step)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Set what `state` returned."""
        step, epochs, latest = (state[key] for key in ("step", "epochs", "latest"))
        latest = {mode: int(latest[mode]) for mode in self._latest_epoch_step}
        self.step, self.epochs, self._latest_epoch_step = int(step), int(epochs), latest

    def introduce(self, trainer: Trainer) -> None:
        """Log the trainer's hyper-parameters, once to each logger."""
        for logger in loggers_of(trainer):
            if not any(logger is known for known in self._introduced):
                self._introduced.append(logger)
                self._call(logger, "log_hyperparams", hyperparameters(trainer))

    def train_step(self, trainer: Trainer, step_dict: Mapping[Any, Any]) -> None:
        """Log a training step."""
        self.step += 1
        if trainer.loggers and (loggers := loggers_of(trainer)):
            state = trainer._zae_state
            if not state.running:
                self.introduce(trainer)
            rate = learning_rate(trainer.optimizer) if state.rate is None else state.rate
            values, has_to_wait = singles(step_dict)
            self._waiting.append((self.step - 1, {"lr": rate, **values}))
            now = time.monotonic()
            if not (has_to_wait and state.running) or len(self._waiting) >= MAX_WAITING or now >= self._due:
                self._due = now + WAITING_SECONDS
                self._flush(loggers)

    def _flush(self, loggers: Sequence[Any]) -> None:
        """Log the steps that wait, their values fetched from the device all at once."""
        waiting, self._waiting = self._waiting, []
        for (step, _), values in zip(waiting, fetched([values for _, values in waiting]), strict=True):
            self._log(loggers, values, step)

    def epoch(self, trainer: Trainer, results: dict[str, float], metrics: Mapping[str, Any]) -> None:
        """Log the results of an epoch: in test mode its means, in both modes the metrics."""
        self.epochs += 1
        loggers = loggers_of(trainer)
        if not loggers:
            return
        self._flush(loggers)
        mode = trainer.mode
        if mode == "train":  # its means are those of the steps
            results = {key: value for key, value in results.items() if key.removeprefix("train_") in metrics}
        step = self._latest_epoch_step[mode] = max(self.step - 1, self._latest_epoch_step[mode] + 1)
        self._log(loggers, results, step)

    def save(self, trainer: Trainer) -> None:
        """Have the loggers write out what they have."""
        loggers = loggers_of(trainer)
        self._flush(loggers)
        for logger in loggers:
            self._call(logger, "save")

    def _log(self, loggers: Sequence[Any], values: dict[str, float], step: int) -> None:
        for logger in loggers if values else ():
            self._call(logger, "log_metrics", values, step)

    def _call(self, logger: Any, method: str, *arguments: Any) -> None:
        try:
            getattr(logger, method)(*arguments)
        except Exception as error:
            self.tell_of_failure(logger, method, error)

    def tell_of_failure(self, logger: Any, method: str, error: Exception) -> None:
        """Warn of a logger that fails, the first time."""
        if not any(logger is failed for failed in self._failed):
            self._failed.append(logger)
            warnings.warn(
                f"{type(logger).__name__}.{method} failed ({type(error).__name__}: {error}). Training goes on, but "
                f"what cannot be logged is lost to this logger; the trainer's own records have it.",
                stacklevel=2,
            )


def loggers_of(trainer: Trainer) -> list[Any]:
    """Return the Lightning loggers of a trainer; ``loggers`` may be something of the user's own.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    list
        What logs as Lightning's loggers do.
    """
    loggers = trainer.loggers if is_first(trainer) else []
    return [logger for logger in loggers if hasattr(logger, "log_metrics")] if isinstance(loggers, list) else []


def hyperparameters(trainer: Trainer) -> dict[str, Any]:
    """Return what describes a trainer: its model, optimizer, scheduler and settings, as plain values.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    dict
        Plain strings and numbers; an optimizer's defaults stand under ``optimizer.<name>``.
    """
    optimizer, model = trainer.optimizer, trainer.model
    parameters = [
        parameter
        for parameter in (model.parameters() if isinstance(model, torch.nn.Module) else ())
        if not isinstance(parameter, UninitializedParameter)
    ]
    values: dict[str, Any] = {
        "mode": trainer.mode,
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "optimizer": type(optimizer).__name__ if optimizer is not None else None,
        "scheduler": type(trainer.scheduler).__name__ if trainer.scheduler is not None else None,
        "scheduler_step_on_batch": trainer.scheduler_step_on_batch,
        "gradient_clip": trainer.gradient_clip,
        "batch_size": trainer.batch_size,
    }
    for key, value in getattr(optimizer, "defaults", {}).items():
        values[f"optimizer.{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return {key: value for key, value in values.items() if value is not None}
