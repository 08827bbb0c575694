"""What an epoch came to: the means of its log, and its metrics, under the names that loggers and callbacks know."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .history import mean

if TYPE_CHECKING:
    from ._trainer import Trainer


def epoch_results(trainer: Trainer, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the results of the epoch that has just been run in the trainer's present mode.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    metrics : mapping of str to number
        The metrics of the epoch.

    Returns
    -------
    dict of str to float
        ``train_<key>`` or ``test_<key>`` for the mean of every key of the log that holds numbers and whose name does
        not contain "output", and for every metric; a metric that is named like a key is ``<name>_metric``.
    """
    mode = trainer.mode
    values: dict[str, float] = {}
    for key, logged in (trainer.log_train if mode == "train" else trainer.log_test).items():
        if "output" not in str(key) and key not in trainer._zae_state.metrics.inputs:
            with contextlib.suppress(Exception):  # no numbers
                values[f"{mode}_{key}"] = mean(logged)
    for key, value in numbers(metrics).items():
        name = f"{mode}_{key}"
        values[f"{name}_metric" if name in values else name] = value
    return values


def numbers(values: Mapping[Any, Any]) -> dict[str, float]:
    """Return the single numbers among values, as floats; the output of a batch of one is none of them.

    Parameters
    ----------
    values : mapping
        What a step or `metric_on_epoch_end` returned.

    Returns
    -------
    dict of str to float
        By name.
    """
    return {str(key): number for key, value in values.items() if (number := _number(key, value)) is not None}


def _number(key: Any, value: Any) -> float | None:
    try:
        if isinstance(value, torch.Tensor):
            is_single = value.dim() == 0 if "output" in str(key) else value.numel() == 1
            return float(value) if is_single else None
        return float(value) if not isinstance(value, (str, bytes)) else None
    except Exception:  # whatever it is, it is no number
        return None
