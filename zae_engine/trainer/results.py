"""What an epoch came to: the means of its log, and its metrics, under the names that loggers and callbacks know."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .log import columns, log_of
from .means import mean
from .series import is_elsewhere

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
    means: dict[str, float] = {}
    for key, logged in columns(log_of(trainer)).items():
        if "output" not in str(key) and key not in trainer._zae_state.metrics.inputs:
            with contextlib.suppress(Exception):  # no numbers
                means[str(key)] = mean(logged)
    return {f"{mode}_{key}": value for key, value in beside(means, numbers(metrics)).items()}


def beside(means: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return means and metrics together; a metric that is named like a mean is ``<name>_metric``."""
    return {**means, **{f"{key}_metric" if key in means else key: value for key, value in metrics.items()}}


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


def singles(values: Mapping[Any, Any]) -> tuple[dict[str, Any], bool]:
    """Return the single numbers among values for `fetched`, and whether any is still on a device.

    Parameters
    ----------
    values : mapping
        What a step returned, as `snapshot` gave it.

    Returns
    -------
    tuple of (dict of str to float or torch.Tensor, bool)
        Floats, but for numbers on another device than the CPU: these are still there.
    """
    found: dict[str, Any] = {}
    has_tensors = False
    for key, value in values.items():
        if isinstance(value, torch.Tensor) and is_elsewhere(value):
            if _is_single(key, value) and not value.is_complex():
                found[str(key)] = value.detach().reshape(())
                has_tensors = True
        elif (number := _number(key, value)) is not None:
            found[str(key)] = number
    return found, has_tensors


def fetched(steps: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the numbers of several steps as floats; those of one device and dtype are fetched together.

    Parameters
    ----------
    steps : list of dict
        What `singles` returned.

    Returns
    -------
    list of dict of str to float
        One a step.
    """
    places: defaultdict[Any, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for values in steps:
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                places[value.dtype, value.device].append((values, key))
    for alike in places.values():
        numbers = torch.stack([values[key] for values, key in alike]).tolist()
        for (values, key), number in zip(alike, numbers, strict=True):
            values[key] = float(number)
    return steps


def _is_single(key: Any, value: torch.Tensor) -> bool:
    """Whether a tensor is one number; the output of a batch of one is not."""
    return value.dim() == 0 if "output" in str(key) else value.numel() == 1


def _number(key: Any, value: Any) -> float | None:
    try:
        if isinstance(value, torch.Tensor):
            return float(value.detach()) if _is_single(key, value) else None
        return float(value) if not isinstance(value, (str, bytes)) else None
    except Exception:  # whatever it is, it is no number
        return None
