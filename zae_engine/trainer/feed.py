"""Feeding loggers with what the steps and epochs gave."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .history import learning_rate, mean

if TYPE_CHECKING:
    from ._trainer import Trainer

ROWS_AT_ONCE = 50
SECONDS_AT_MOST = 2.0


class LoggerFeed:
    """Hands every training step and every test epoch to a trainer's loggers, in order.

    A training step is logged under its own names (``loss``, ``acc``) with the learning rate as ``lr``; a test epoch as
    means, ``test_<name>``; metrics as ``train_<name>`` and ``test_<name>``. The step number goes up by one a training
    batch and never back, over all runs. Rows wait until there are fifty, or two seconds have passed, or an epoch or a
    run ends, so that values are read from the device in bulk.

    A logger that fails costs one warning, not the run.
    """

    def __init__(self) -> None:
        self.step = 0
        self._rows: list[tuple[int, Mapping[str, Any]]] = []
        self._since = time.monotonic()
        self._failed: list[Any] = []
        self._introduced: list[Any] = []

    def introduce(self, trainer: Trainer) -> None:
        """Log the trainer's hyper-parameters, once to each logger."""
        for logger in trainer.loggers:
            if not any(logger is known for known in self._introduced):
                self._introduced.append(logger)
                self._call(logger, "log_hyperparams", hyperparameters(trainer))

    def train_step(self, loggers: Sequence[Any], step_dict: Mapping[str, Any], optimizer: Any) -> None:
        """Take a training step."""
        self.step += 1
        if not loggers:
            return
        values = {key: value for key, value in step_dict.items() if "output" not in key}
        self._rows.append((self.step - 1, {"lr": learning_rate(optimizer), **values}))
        if len(self._rows) >= ROWS_AT_ONCE or time.monotonic() - self._since > SECONDS_AT_MOST:
            self.flush(loggers)

    def epoch(self, trainer: Trainer) -> None:
        """Take the results of an epoch: in test mode its means, in both modes the metrics."""
        if not trainer.loggers:
            return
        test = trainer.mode == "test"
        values: dict[str, Any] = {}
        for key, logged in trainer.log_test.items() if test else ():
            if "output" not in key:
                try:
                    values[f"test_{key}"] = mean(logged)
                except (TypeError, ValueError):  # no numbers
                    continue
        values |= {
            f"{trainer.mode}_{k}": v for k, v in (trainer.test_metrics if test else trainer.train_metrics).items()
        }
        self._rows.append((max(self.step - 1, 0), values))
        self.flush(trainer.loggers)

    def flush(self, loggers: Sequence[Any]) -> None:
        """Hand over what has waited."""
        rows, self._rows, self._since = self._rows, [], time.monotonic()
        for step, values in rows:
            numbers = {key: number for key, value in values.items() if (number := _number(value)) is not None}
            for logger in loggers if numbers else ():
                self._call(logger, "log_metrics", numbers, step)

    def save(self, loggers: Sequence[Any]) -> None:
        """Hand over what has waited, and have the loggers write it out."""
        self.flush(loggers)
        for logger in loggers:
            self._call(logger, "save")

    def _call(self, logger: Any, method: str, *arguments: Any) -> None:
        try:
            getattr(logger, method)(*arguments)
        except Exception as error:
            if not any(logger is failed for failed in self._failed):
                self._failed.append(logger)
                warnings.warn(
                    f"{type(logger).__name__}.{method} failed ({type(error).__name__}: {error}). Training goes on, but "
                    f"what cannot be logged is lost to this logger; the trainer's own records have it.",
                    stacklevel=2,
                )


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
    parameters = list(model.parameters()) if isinstance(model, torch.nn.Module) else []
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


def _number(value: Any) -> float | None:
    """Return a value as a float; None if it is no single number."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    try:
        return float(value) if not isinstance(value, (str, bytes)) else None
    except (TypeError, ValueError):
        return None
