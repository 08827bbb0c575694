"""What an epoch came to: the means of its log, and its metrics, under the names that loggers and callbacks know."""

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
        Keys of the log that are no results.

    Returns
    -------
    dict of str to float
        ``<mode>_<key>`` for the mean of every key of the log that holds numbers and whose name does not contain
        "output", and for every metric. A metric with the name of a key is called ``<name>_metric``.
    """
    means: dict[str, float] = {}
    for key, logged in peek(log).items():
        if "output" not in str(key) and key not in left_out:
            with contextlib.suppress(Exception):  # the values are no numbers
                means[str(key)] = mean(logged)
    return {f"{mode}_{key}": value for key, value in merge_metrics(means, to_floats(metrics)).items()}


def merge_metrics(means: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return means and metrics together; a metric that is named like a mean is ``<name>_metric``."""
    return {**means, **{f"{key}_metric" if key in means else key: value for key, value in metrics.items()}}


def to_floats(values: Mapping[Any, Any]) -> dict[str, float]:
    """Return the single to_floats among values, as floats; the output of a batch of one is none of them.

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
    """Return the single to_floats among values for `fetch_scalars`, and whether any is still on a device.

    Parameters
    ----------
    values : mapping
        What a step returned, as `snapshot` gave it.

    Returns
    -------
    tuple of (dict of str to float or torch.Tensor, bool)
        Floats, but for to_floats on another device than the CPU: these are still there.
    """
    found: dict[str, Any] = {}
    has_tensors = False
    for key, value in values.items():
        if isinstance(value, torch.Tensor) and is_off_cpu(value):
            if _is_single(key, value) and not value.is_complex():
                found[str(key)] = value.detach().reshape(())
                has_tensors = True
        elif (number := _number(key, value)) is not None:
            found[str(key)] = number
    return found, has_tensors


def fetch_scalars(steps: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the scalars of several steps as floats; those of one device and dtype are fetched together.

    Parameters
    ----------
    steps : list of dict
        What `scalars` returned.

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
        to_floats = torch.stack([values[key] for values, key in alike]).tolist()
        for (values, key), number in zip(alike, to_floats, strict=True):
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
