"""Batch structure: what a batch consists of, in words; no tensor is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import torch

MOST_PARTS = 8
"""How many parts of a container are described."""
DEPTH = 3
"""How many containers, one within another, are described."""


def batch_structure(batch: Any, depth: int = DEPTH) -> str:
    """Return what a batch consists of.

    Parameters
    ----------
    batch : object
        A batch of any type.
    depth : int, optional
        How many containers, one within another, are described.

    Returns
    -------
    str
        Types, shapes and dtypes; the device where it is not the CPU.

    Examples
    --------
    >>> batch_structure((torch.zeros(32, 13), {"y": torch.zeros(32, dtype=torch.int64), "names": ["a", "b"]}))
    'tuple of Tensor[32, 13] float32, (dict of y: Tensor[32] int64, names: (list of 2 x str))'
    """
    try:
        return _describe(batch, depth)
    except Exception:  # an object of the user's may refuse anything
        return type(batch).__name__


def _describe(value: Any, depth: int) -> str:
    name = type(value).__name__
    if isinstance(value, torch.Tensor) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        dtype = str(value.dtype).removeprefix("torch.")
        device = str(getattr(value, "device", "cpu"))
        return f"{name}{list(map(int, value.shape))} {dtype}" + ("" if device == "cpu" else f" {device}")
    if not isinstance(value, (Mapping, list, tuple)):
        return name
    if not value:
        return f"empty {name}"
    if not depth:
        return f"{name} of {len(value)}"
    if isinstance(value, Mapping):
        return f"{name} of {_listed(f'{key}: {_part(part, depth)}' for key, part in value.items())}"
    return f"{name} of {_listed(_part(part, depth) for part in value)}"


def _part(value: Any, depth: int) -> str:
    text = _describe(value, depth - 1)
    return f"({text})" if " of " in text else text


def _listed(texts: Iterable[str]) -> str:
    """Return texts with commas; equal ones that follow one another as one with their number."""
    counted = [(text, len(list(group))) for text, group in groupby(texts)]
    shown = [text if count == 1 else f"{count} x {text}" for text, count in counted[:MOST_PARTS]]
    return ", ".join([*shown, "…"] if len(counted) > MOST_PARTS else shown)
