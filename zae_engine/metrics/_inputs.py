"""Inputs: convert the arguments of metrics to tensors, and raise errors for unsuitable arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._errors import ContractError

Values = torch.Tensor | ArrayLike


class EmptyInputError(ContractError, ZeroDivisionError):
    """An empty argument. 0.7.6 divided by zero for it, or returned ``nan``."""


def labels(values: Values, name: str) -> torch.Tensor:
    """Return labels as a tensor. A tensor is returned unchanged; other values become integers, as in 0.7.6."""
    return values if isinstance(values, torch.Tensor) else _tensor(values, name, np.int64)


def numbers(values: Values, name: str) -> torch.Tensor:
    """Return numbers as a tensor of floats. Arrays become float32, as in 0.7.6."""
    if isinstance(values, torch.Tensor):
        return values if values.is_floating_point() else values.float()
    return _tensor(values, name, np.float32)


def classes(values: Values, name: str, num_classes: int) -> torch.Tensor:
    """Return labels as a tensor of int64; raise an error unless they are from 0 to ``num_classes - 1``."""
    tensor = labels(values, name)
    if tensor.is_floating_point() or tensor.is_complex():
        raise TypeError(
            f"{name} holds {tensor.dtype}, but labels are whole numbers: pass logits through `.argmax(1)`, "
            f"and labels that are stored as floats through `.long()`."
        )
    tensor = tensor.long()
    if tensor.numel():
        lowest, highest = torch.stack(tensor.aminmax()).tolist()
        if lowest < 0 or highest >= num_classes:
            raise ContractError(
                f"{name} holds labels from {lowest} to {highest}, but num_classes={num_classes} means 0 to "
                f"{num_classes - 1}."
            )
    return tensor


def same_shape(first: torch.Tensor, second: torch.Tensor, names: tuple[str, str]) -> None:
    """Raise an error if two tensors differ in shape."""
    if first.shape != second.shape:
        raise ContractError(
            f"{names[0]} has the shape {tuple(first.shape)} and {names[1]} {tuple(second.shape)}: they must be equal."
        )


def not_empty(tensor: torch.Tensor, name: str) -> None:
    """Raise an error if a tensor has no elements."""
    if not tensor.numel():
        raise EmptyInputError(f"{name} is empty, of shape {tuple(tensor.shape)}: a metric needs at least one value.")


def _tensor(values: Any, name: str, dtype: Any) -> torch.Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(np.asarray(values).astype(dtype)).reshape(np.shape(values)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is {values!r}, not a tensor or an array of numbers.") from error
