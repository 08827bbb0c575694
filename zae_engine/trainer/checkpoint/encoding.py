"""Encoding: turn values into tensors, numbers, text and containers, which are loaded without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from ..utilities.sharded_tensors import is_sharded

_TAG = "__zae__"
_SIMPLE = (type(None), bool, int, float, complex, str, bytes)


def encode(value: Any) -> Any:
    """Return a value in the types that ``torch.load(..., weights_only=True)`` accepts.

    Parameters
    ----------
    value : object
        Tensors, numbers, text, paths, NumPy arrays and scalars, and containers of these.

    Returns
    -------
    object
        The argument of `decode`. Tensors are detached and on the CPU, but not copied; sharded ones stay sharded.

    Raises
    ------
    TypeError
        If the value is or contains an object of another type.
    """
    if isinstance(value, torch.Tensor):
        return value.detach() if is_sharded(value) else value.detach().cpu()
    if type(value) is bytes and not value:  # torch.save writes it as a call, which weights_only=True refuses
        return {_TAG: "bytes", "data": []}
    if type(value) in _SIMPLE or isinstance(value, (torch.device, torch.dtype)):
        return value
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.names is not None:
            raise TypeError(f"an array of {value.dtype} is no plain value")
        data = encode(value.tobytes())
        return {_TAG: "array", "dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, PurePath):
        return {_TAG: "path", "data": str(value)}
    if isinstance(value, (bool, int, float, str)):  # an instance of a subclass, of an enumeration for instance
        return next(base(value) for base in (bool, int, float, str) if isinstance(value, base))
    if isinstance(value, Mapping):
        return {_encode_key(key): encode(element) for key, element in value.items()}
    if isinstance(value, tuple):
        return tuple(encode(element) for element in value)
    if isinstance(value, list):
        return [encode(element) for element in value]
    if isinstance(value, (set, frozenset)):
        return {_TAG: "set", "data": [encode(element) for element in value]}
    raise TypeError(f"a {type(value).__name__} is no plain value")


def decode(value: Any) -> Any:
    """Return the value that `encode` encoded. Paths become strings, and subclasses of containers their base class."""
    if isinstance(value, dict):
        if _TAG in value:
            return _decode_tagged(value)
        return {key: decode(element) for key, element in value.items()}
    if type(value) in (list, tuple):
        return type(value)(decode(element) for element in value)
    return value


def _encode_key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_encode_key(element) for element in key)
    if type(key) in _SIMPLE and key != b"":
        return key
    raise TypeError(f"a key of type {type(key).__name__} is no plain value")


def _decode_tagged(value: dict[Any, Any]) -> Any:
    tag, data = value[_TAG], value["data"]
    if tag == "array":
        dtype = np.dtype(value["dtype"])
        if dtype.hasobject:
            raise ValueError("an array of objects is no plain value")
        return np.frombuffer(bytearray(decode(data)), dtype).reshape(value["shape"])
    if tag == "bytes":
        return bytes(data)
    if tag == "path":
        return str(data)
    if tag == "set":
        return set(decode(data))
    raise ValueError(f"{tag!r} is no known kind of value")
