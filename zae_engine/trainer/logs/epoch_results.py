"""Epoch results: the means of an epoch's log and its metrics, under the names that loggers and callbacks use."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import torch

from .epoch_log import peek
from .reductions import mean
from .value_buffer import is_off_cpu


def epoch_results(
    log: Mapping[str, Any], mode: str, metrics: Mapping[str, Any], left_out: Collection[str] = ()
) -> dict[str, float]:
    """Return the results of an epoch in one mode.

    Parameters
    ----------
    log : mapping of str to list
        The log of the mode.
    mode : {"train", "test"}
        The mode.
    metrics : mapping of str to number
        The metrics of the epoch.
    left_out : collection of str, optional
        Keys of the log that are not results.

    Returns
    -------
    dict of str to float
        ``<mode>_<key>`` for the mean of every key of the log that holds numbers and whose name does not contain
        "output", and for every metric. A metric with the name of a key is called ``<name>_metric``.
    """
    merged = merge_metrics(means_of(log, left_out), to_floats(metrics))
    return {f"{mode}_{key}": value for key, value in merged.items()}


def means_of(log: Mapping[str, Any], left_out: Collection[str] = ()) -> dict[str, float]:
    """Return the mean of every key of a log that holds numbers and whose name does not contain "output"."""
    means: dict[str, float] = {}
    for key, logged in peek(log).items():
        if "output" not in str(key) and key not in left_out:
            with contextlib.suppress(Exception):  # raised if the values are not numbers
                means[str(key)] = mean(logged)
    return means


def merge_metrics(means: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return means and metrics in one dict. A metric with the name of a mean is called ``<name>_metric``."""
    return {**means, **{f"{key}_metric" if key in means else key: value for key, value in metrics.items()}}


def to_floats(values: Mapping[Any, Any]) -> dict[str, float]:
    """Return the scalars among values as floats. Under an "output" key, a tensor of shape (1,) is not a scalar.

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


def scalars(values: Mapping[Any, Any]) -> tuple[dict[str, Any], bool]:
    """Return the scalars among values, and whether any is a tensor on another device than the CPU.

    Parameters
    ----------
    values : mapping
        What a step returned; `detach_copy` has copied the tensors.

    Returns
    -------
    tuple of (dict of str to float or torch.Tensor, bool)
        Floats for values on the CPU, and tensors for values on other devices, for `fetch_scalars`.
    """
    found: dict[str, Any] = {}
    has_tensors = False
    for key, value in values.items():
        if isinstance(value, torch.Tensor) and is_off_cpu(value):
            if _is_scalar(key, value) and not value.is_complex():
                found[str(key)] = value.detach().reshape(())
                has_tensors = True
        elif (number := _number(key, value)) is not None:
            found[str(key)] = number
    return found, has_tensors


def fetch_scalars(steps: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the scalars of several steps as floats. One transfer fetches all that share a device and a dtype.

    Parameters
    ----------
    steps : list of dict
        What `scalars` returned.

    Returns
    -------
    list of dict of str to float
        One dict a step.
    """
    by_device: defaultdict[Any, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for values in steps:
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                by_device[value.dtype, value.device].append((values, key))
    for places in by_device.values():
        numbers = torch.stack([values[key] for values, key in places]).tolist()
        for (values, key), number in zip(places, numbers, strict=True):
            values[key] = float(number)
    return steps


def _is_scalar(key: Any, value: torch.Tensor) -> bool:
    """Whether a tensor is one number. The output of a batch of one sample, of shape (1,), is not."""
    return value.dim() == 0 if "output" in str(key) else value.numel() == 1


def _number(key: Any, value: Any) -> float | None:
    try:
        if isinstance(value, torch.Tensor):
            return float(value.detach()) if _is_scalar(key, value) else None
        return float(value) if not isinstance(value, (str, bytes)) else None
    except Exception:  # a value of any type may refuse the conversion; then it is not a number
        return None
