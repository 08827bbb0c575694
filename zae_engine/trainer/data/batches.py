"""Batches: from what a user predicts on to batches, and from the outputs of batches to one output."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

DEFAULT_BATCH_SIZE = 256


def batches_of(data: Any, batch_size: int | None, precision: torch.dtype | None = None) -> Iterable[Any]:
    """Return an iterable of batches.

    Parameters
    ----------
    data : iterable of batches, Dataset, torch.Tensor, numpy.ndarray, pandas.DataFrame or Series, or one batch
        A tensor, an array and a table hold a sample in each row. A mapping, a tuple, and a list of tensors or arrays
        are one batch.
    batch_size : int or None
        The rows of a batch, where the data are a dataset, a tensor, an array or a table; None for 256.
    precision : torch.dtype, optional
        The type for arrays and tables of floats, which numpy holds in double precision by default.

    Raises
    ------
    TypeError
        If the data are none of these, or a table has a column that holds no numbers.
    """
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    if hasattr(data, "iloc") and hasattr(data, "to_numpy"):
        data = _array_of_table(data)
    if isinstance(data, np.ndarray):
        data = _with_tensors(data, precision)
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
            f"data is of type {type(data).__name__}. Give a loader, a dataset, a tensor, an array, a table, or one "
            f"batch (a tuple or a dict of tensors)."
        )
    return [_with_tensors(data, precision)] if _is_one_batch(data) else data


def _split(tensor: torch.Tensor, size: int) -> list[torch.Tensor]:
    return [tensor[start : start + size] for start in range(0, len(tensor), size)]


def _is_one_batch(data: Any) -> bool:
    if isinstance(data, (Mapping, tuple)):
        return True
    return isinstance(data, list) and len(data) > 0 and isinstance(data[0], (torch.Tensor, np.ndarray))


def _array_of_table(table: Any) -> np.ndarray[Any, Any]:
    """Return the values of a ``pandas.DataFrame`` or ``Series``."""
    array: np.ndarray[Any, Any] = table.to_numpy()
    if array.dtype.kind not in "biuf":
        kinds = dict(table.dtypes) if array.ndim > 1 else {table.name: table.dtype}
        others = [str(name) for name, kind in kinds.items() if getattr(kind, "kind", "O") not in "biuf"]
        raise TypeError(
            f"data is a table with columns that hold no numbers: {', '.join(others)}. Drop them, or turn them into "
            f"numbers."
        )
    return array


def _with_tensors(batch: Any, precision: torch.dtype | None) -> Any:
    if isinstance(batch, np.ndarray):
        tensor = torch.from_numpy(np.require(batch, requirements=["C", "W"]))  # a table may be read-only
        return tensor if precision is None or not tensor.is_floating_point() else tensor.to(precision)
    if isinstance(batch, Mapping):
        return {key: _with_tensors(value, precision) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_with_tensors(value, precision) for value in batch)
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
