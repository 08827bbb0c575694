"""Restricted unpickler: read a pickle of tensors, containers and plain values without running other code."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def load_plain_pickle(data: bytes) -> Any:
    """Return the value in a pickle. Optimizer and scheduler objects become dictionaries of their attributes.

    Parameters
    ----------
    data : bytes
        The pickle.

    Raises
    ------
    Exception
        If ``data`` is not a pickle, or refers to another class or function, or asks for more memory than it can need.
    """
    _check_memo(data)
    return _to_plain(_RestrictedUnpickler(io.BytesIO(data)).load(), {})


def pickle_size(data: bytes) -> int:
    """Return the number of bytes up to the end of the pickle with which the data begin."""
    end = 0
    for _, _, position in pickletools.genops(data):
        end = (position or 0) + 1  # the last instruction is STOP, one byte
    return end


class _AttributeHolder:
    """A placeholder for an object of a class whose code must not run. It only stores the object's attributes."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _load_tensor(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _numpy_scalar(dtype: Any, data: bytes) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("it holds a NumPy scalar that is no number")
    return np.frombuffer(data, dtype)[0].item()


class _Function:
    """A function that a pickle may call but not change. The BUILD instruction of a pickle sets attributes otherwise."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("collections", "Counter"): Counter,
    ("collections", "deque"): deque,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("builtins", "complex"): complex,
    ("torch", "device"): torch.device,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _load_tensor,  # torch's own function unpickles any object
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _Function(_ALLOWED[module, name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module.split(".")[:2] in (["zae_engine", "schedulers"], ["torch", "optim"]) and name.isidentifier():
            return type(name, (_AttributeHolder,), {})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no saved state needs")


def _check_memo(data: bytes) -> None:
    """Raise an error if a memo index is larger than the pickle, since the unpickler allocates a table of that size."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("it asks for more memory than it can need")


def _to_plain(value: Any, done: dict[int, Any]) -> Any:
    """Turn placeholders into dictionaries. Several references to an object become references to one dictionary."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _AttributeHolder):
        plain: Any = {key: _to_plain(element, done) for key, element in vars(value).items() if key != "optimizer"}
    elif type(value) is dict:
        plain = {key: _to_plain(element, done) for key, element in value.items()}
    elif type(value) in (list, tuple):
        plain = type(value)([_to_plain(element, done) for element in value])
    else:
        return value
    done[id(value)] = plain
    return plain
