"""Batch size: the number of samples in a batch, by Lightning's rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch


def batch_size_of(batch: Any) -> tuple[int | None, bool]:
    """Return the number of samples in a batch, and whether its tensors differ in length.

    The rule is that of ``lightning.pytorch.utilities.data.extract_batch_size``: the length of the first tensor that is
    found in the batch, 1 for a tensor without dimensions. Sequences, mappings and dataclasses are searched in order.

    Parameters
    ----------
    batch : object
        The batch, as the loader gives it.

    Returns
    -------
    tuple of (int or None, bool)
        The number is None if there is no tensor. Arrays of NumPy count as tensors, in which Lightning finds nothing.
    """
    first: int | None = None
    try:
        for length in _lengths(batch):
            if first is None:
                first = length
            elif length != first:
                return first, True
    except Exception:  # an object of any type may refuse to be iterated
        return first, False
    return first, False


def checked_size(value: Any) -> Any:
    """Return a number of samples, without reading it from a device; `TypeError` or `ValueError` for other values."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f'"batch_size" is a tensor of shape {tuple(value.shape)}; a single number is needed.')
        return value.detach().clone()
    if value is not None and (isinstance(value, bool) or not hasattr(type(value), "__float__")):
        raise TypeError(f'"batch_size" is of type {type(value).__name__}; a number of samples is needed.')
    if value is not None and not value >= 0:
        raise ValueError(f'"batch_size" is {value!r}; a number of samples, 0 or more, is needed.')
    return value


def _lengths(batch: Any) -> Iterator[int]:
    if isinstance(batch, (torch.Tensor, np.ndarray)):
        yield batch.shape[0] if batch.ndim else 1
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _lengths(value)
    elif isinstance(batch, (str, bytes, Iterator)):  # an iterator would be used up
        return
    elif isinstance(batch, Iterable):
        for value in batch:
            yield from _lengths(value)
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for field in dataclasses.fields(batch):
            yield from _lengths(getattr(batch, field.name))
