"""Logger connector: pass the values of steps and epochs to the loggers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from .epoch_results import fetch_scalars, scalars

MAX_WAITING = 256
"""The largest number of steps that wait to be logged."""
WAITING_SECONDS = 1.0
"""The longest time for which a step waits to be logged, while further steps follow."""


class LoggerConnector:
    """Passes every training step and every test epoch to a trainer's loggers, in order.

    A step whose values are on the CPU is logged at once. Reading a value from another device blocks the CPU, so that
    such steps are logged in groups: once a second, and at the end of an epoch or of a run, also of an interrupted one.

    A training step is logged under the names that it returned (``loss``, ``acc``), with the learning rate of its update
    as ``lr``. A test epoch is logged as means, ``test_<name>``, and metrics as ``train_<name>`` and ``test_<name>``.
    The step number increases by one for each training batch, and never decreases from one run to the next. Where
    gradients accumulate, it increases with each update of the weights, and the batch of the update is logged.

    A logger that fails causes one warning and does not stop the run.
    """

    def __init__(self) -> None:
        self.step = 0
        self.epochs = 0
        self._latest_epoch_step = {"train": -1, "test": -1}
        self._failed: list[Any] = []
        self._with_hyperparams: list[Any] = []
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self._due = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process: the loggers, and the steps that wait to be logged."""
        return {**self.__dict__, "_failed": [], "_with_hyperparams": [], "_waiting": []}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts from which the step numbers of loggers follow. The keys are a format on disk."""
        return {"step": self.step, "epochs": self.epochs, "latest": dict(self._latest_epoch_step)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        step, epochs, latest = (state[key] for key in ("step", "epochs", "latest"))
        latest = {mode: int(latest[mode]) for mode in self._latest_epoch_step}
        self.step, self.epochs, self._latest_epoch_step = int(step), int(epochs), latest

    def log_hyperparams_once(self, loggers: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Log hyper-parameters, once for each logger."""
        for logger in loggers:
            if not any(logger is done for done in self._with_hyperparams):
                self._with_hyperparams.append(logger)
                self._call(logger, "log_hyperparams", values)

    def count_step(self) -> None:
        """Count a training step."""
        self.step += 1

    def log_step(self, loggers: Sequence[Any], step_dict: Mapping[Any, Any], lr: float | None, may_wait: bool) -> None:
        """Log the training step that was counted last.

        Parameters
        ----------
        loggers : sequence of Logger
            The loggers.
        step_dict : mapping
            What the step returned; `detach_copy` has copied the tensors.
        lr : float
            The learning rate of the update.
        may_wait : bool
            Whether values on another device may be logged by a later call.
        """
        values, is_off_cpu = scalars(step_dict)
        self._waiting.append((self.step - 1, {**({} if lr is None else {"lr": lr}), **values}))
        now = time.monotonic()
        if not (is_off_cpu and may_wait) or len(self._waiting) >= MAX_WAITING or now >= self._due:
            self._due = now + WAITING_SECONDS
            self._flush(loggers)

    def _flush(self, loggers: Sequence[Any]) -> None:
        """Log the waiting steps. One transfer fetches all their values from a device."""
        waiting, self._waiting = self._waiting, []
        for (step, _), values in zip(waiting, fetch_scalars([values for _, values in waiting]), strict=True):
            self._log(loggers, values, step)

    def log_epoch(
        self, loggers: Sequence[Any], mode: str, results: Mapping[str, float], metrics: Mapping[str, Any]
    ) -> None:
        """Count an epoch, and log its results: the metrics in both modes, and the means in test mode."""
        self.epochs += 1
        if not loggers:
            return
        self._flush(loggers)
        if mode == "train":  # the loggers have the values of every step, so that means would repeat them
            results = {key: value for key, value in results.items() if key.removeprefix("train_") in metrics}
        step = self._latest_epoch_step[mode] = max(self.step - 1, self._latest_epoch_step[mode] + 1)
        self._log(loggers, results, step)

    def save(self, loggers: Sequence[Any]) -> None:
        """Log the waiting steps, and call ``save`` on every logger."""
        self._flush(loggers)
        for logger in loggers:
            self._call(logger, "save")

    def _log(self, loggers: Sequence[Any], values: Mapping[str, float], step: int) -> None:
        for logger in loggers if values else ():
            self._call(logger, "log_metrics", values, step)

    def _call(self, logger: Any, method: str, *arguments: Any) -> None:
        try:
            getattr(logger, method)(*arguments)
        except Exception as error:
            self.warn_once(logger, method, error)

    def warn_once(self, logger: Any, method: str, error: Exception) -> None:
        """Warn about a logger that fails, once for each logger."""
        if not any(logger is failed for failed in self._failed):
            self._failed.append(logger)
            warnings.warn(
                f"{type(logger).__name__}.{method} failed ({type(error).__name__}: {error}). Training continues, but "
                f"this logger misses the values that cannot be logged. The trainer's own records have them.",
                stacklevel=2,
            )


def hyperparameters(model: Any, optimizer: Any, scheduler: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters of a training: model, optimizer, scheduler and settings, as plain values.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    optimizer : torch.optim.Optimizer or None
        The optimizer. Its defaults are named ``optimizer.<name>``.
    scheduler : torch.optim.lr_scheduler.LRScheduler or None
        The scheduler.
    settings : mapping
        Further values.

    Returns
    -------
    dict
        Plain strings and numbers.
    """
    parameters = [
        parameter
        for parameter in (model.parameters() if isinstance(model, torch.nn.Module) else ())
        if not isinstance(parameter, UninitializedParameter)
    ]
    values: dict[str, Any] = {
        **settings,
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "optimizer": type(optimizer).__name__ if optimizer is not None else None,
        "scheduler": type(scheduler).__name__ if scheduler is not None else None,
    }
    for key, value in getattr(optimizer, "defaults", {}).items():
        values[f"optimizer.{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return {key: value for key, value in values.items() if value is not None}
