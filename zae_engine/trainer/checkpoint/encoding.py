"""Values as files may hold them: tensors, numbers, text and containers, which are read without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

_TAG = "__zae__"
_SIMPLE = (type(None), bool, int, float, complex, str, bytes)


def encode(value: Any) -> Any:
    """Return a value in terms of what ``torch.load(..., weights_only=True)`` reads.

    Parameters
    ----------
    value : object
        Tensors, numbers, text, paths, NumPy arrays and scalars, and containers of these.

    Returns
    -------
    object
        For `decode`. Tensors are detached and on the CPU, but not copied.

    Raises
    ------
    TypeError
        If there is anything else in it.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if type(value) in _SIMPLE or isinstance(value, (torch.device, torch.dtype)):
        return value
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.names is not None:
            raise TypeError(f"an array of {value.dtype} is no plain value")
        return {_TAG: "array", "dtype": value.dtype.str, "shape": list(value.shape), "data": value.tobytes()}
    if isinstance(value, PurePath):
        return {_TAG: "path", "data": str(value)}
    if isinstance(value, (bool, int, float, str)):  # of a subclass, an enumeration for instance
        return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
    if isinstance(value, Mapping):
        return {_key(key): encode(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(encode(part) for part in value)
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return {_TAG: "set", "data": [encode(part) for part in value]}
    raise TypeError(f"a {type(value).__name__} is no plain value")


def decode(value: Any) -> Any:
    """Return what `encode` was given."""
    if isinstance(value, dict):
        if _TAG in value:
            return _tagged(value)
        return {key: decode(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(decode(part) for part in value)
    return value


def _key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    if type(key) in _SIMPLE:
        return key
    raise TypeError(f"a key of type {type(key).__name__} is no plain value")


def _tagged(value: dict[Any, Any]) -> Any:
    kind, data = value[_TAG], value["data"]
    if kind == "array":
        dtype = np.dtype(value["dtype"])
        if dtype.hasobject:
            raise ValueError("an array of objects is no plain value")
        return np.frombuffer(data, dtype).reshape(value["shape"]).copy()
    if kind == "path":
        return str(data)
    if kind == "set":
        return set(decode(data))
    raise ValueError(f"{kind!r} is no known kind of value")
