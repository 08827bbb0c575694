"""Batches: from what a user predicts on to batches, and from the outputs of batches to one output."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

DEFAULT_BATCH_SIZE = 256


def batches_of(data: Any, batch_size: int | None) -> Iterable[Any]:
    """Return an iterable of batches.

    Parameters
    ----------
    data : iterable of batches, torch.utils.data.Dataset, torch.Tensor, numpy.ndarray, or one batch
        A tensor and an array hold a sample in each row. A mapping, a tuple, and a list of tensors or arrays are one
        batch.
    batch_size : int or None
        The rows of a batch, where the data are a dataset, a tensor or an array; None for 256.

    Raises
    ------
    TypeError
        If the data are none of these.
    """
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    if isinstance(data, np.ndarray):
        data = _with_tensors(data)
    if isinstance(data, torch.Tensor):
        if not data.dim():
            raise TypeError("data is a tensor without rows (0 dimensions), but each row is a sample. Give data[None].")
        return _split(data, size)
    if isinstance(data, TensorDataset):
        return (tuple(rows) for rows in zip(*(_split(tensor, size) for tensor in data.tensors), strict=True))
    if isinstance(data, (Dataset, IterableDataset)) and not hasattr(data, "batch_size"):
        return DataLoader(data, size)
    if isinstance(data, (str, bytes, torch.nn.Module)) or not hasattr(type(data), "__iter__"):
        raise TypeError(
            f"data is of type {type(data).__name__}. Give a loader, a dataset, a tensor, an array, or one batch (a "
            f"tuple or a dict of tensors)."
        )
    return [_with_tensors(data)] if _is_one_batch(data) else data


def _split(tensor: torch.Tensor, size: int) -> list[torch.Tensor]:
    return [tensor[start : start + size] for start in range(0, len(tensor), size)]


def _is_one_batch(data: Any) -> bool:
    if isinstance(data, (Mapping, tuple)):
        return True
    return isinstance(data, list) and len(data) > 0 and isinstance(data[0], (torch.Tensor, np.ndarray))


def _with_tensors(batch: Any) -> Any:
    if isinstance(batch, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(batch))
    if isinstance(batch, Mapping):
        return {key: _with_tensors(value) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_with_tensors(value) for value in batch)
    return batch


def call_with_inputs(model: Any, batch: Any) -> Any:
    """Call a model on the inputs of a batch.

    Parameters
    ----------
    model : callable
        The model.
    batch : tensor, mapping or sequence
        A tensor is the input. Of a mapping, the entries that the model's signature names are keyword arguments; if
        they do not suffice, the first entry is the input. Of a sequence, the first element is the input.
    """
    if isinstance(batch, Mapping):
        arguments = _arguments(model, batch)
        return model(**arguments) if arguments is not None else model(next(iter(batch.values())))
    if isinstance(batch, (tuple, list)):
        return model(batch[0])
    return model(batch)


def _arguments(model: Any, batch: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Return the entries of a batch that a model takes by their names; None if it needs others, or takes none."""
    if not all(isinstance(key, str) for key in batch):
        return None
    try:
        signature = inspect.signature(getattr(model, "forward", model))
    except (TypeError, ValueError):
        return None
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    chosen = {key: value for key, value in batch.items() if takes_all or key in signature.parameters}
    try:
        signature.bind(**chosen)
    except TypeError:
        return None
    return chosen or None


def join_outputs(outputs: Sequence[Any]) -> Any:
    """Return the outputs of several batches as one, joined along the first dimension.

    Parameters
    ----------
    outputs : sequence
        The outputs in order, all of one structure: tensors and arrays with a row for each sample, and mappings, tuples,
        named tuples and lists of these. Scalars become one entry a batch; other values become a list.

    Returns
    -------
    object
        The same structure; an empty list without outputs.
    """
    if not outputs:
        return []
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs)) if first.dim() else torch.stack(list(outputs))
    if isinstance(first, np.ndarray):
        return np.concatenate(outputs) if first.ndim else np.stack(outputs)
    if isinstance(first, Mapping):
        return {key: join_outputs([output[key] for output in outputs]) for key in first}
    if isinstance(first, tuple):
        joined = [join_outputs(column) for column in zip(*outputs, strict=True)]
        return type(first)(*joined) if hasattr(first, "_fields") else tuple(joined)
    if isinstance(first, list):
        if any(isinstance(value, (torch.Tensor, np.ndarray)) for value in first):
            return [join_outputs(column) for column in zip(*outputs, strict=True)]
        return [value for output in outputs for value in output]
    return list(outputs)
