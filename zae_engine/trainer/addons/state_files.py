"""The files of StateManagerAddon: written at once or not at all, read without running anything that stands in them."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch

from ..files import replace_file, unreadable

FORMATS = ("ckpt", "safetensor")


def write_model(filename: str | os.PathLike[str], state: dict[str, Any], save_format: str) -> None:
    """Write a model's state dictionary, its tensors on the CPU.

    Parameters
    ----------
    filename : path
        The file.
    state : dict
        ``model.state_dict()``.
    save_format : {"ckpt", "safetensor"}
        `torch.save`, or safetensors. The latter holds tensors only, each by itself, also where two share memory.
    """
    on_cpu = _to_cpu(state)
    if save_format == "ckpt":
        replace_file(filename, lambda file: torch.save(on_cpu, file))
    else:
        odd = {key: type(value).__name__ for key, value in on_cpu.items() if not isinstance(value, torch.Tensor)}
        if odd:
            raise TypeError(
                f'save_format="safetensor" holds tensors only, but the model\'s state has {odd}. Use "ckpt".'
            )
        tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in on_cpu.items()}
        data = safetensors.torch.save(tensors)
        replace_file(filename, lambda file: file.write(data))


def write_zae(filename: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the state of an optimizer or scheduler as a pickle, which zae-engine 0.7.6 reads too."""
    data = pickle.dumps(_to_cpu(state))
    replace_file(filename, lambda file: file.write(data))


def read_zae(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that `write_zae` or zae-engine 0.7.6 wrote, tensors onto the CPU.

    Only tensors, containers and plain values are read. Whole scheduler and optimizer objects, which 0.7.6 writes for a
    `SchedulerChain`, come out as the dictionaries of their attributes.

    Parameters
    ----------
    filename : path
        The file.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    ValueError
        If the file is no such pickle, or asks for anything else.
    """
    with open(filename, "rb") as file:
        data = file.read()
    try:
        _check_size(data)
        state = _plain(_Reader(io.BytesIO(data)).load(), {})
    except Exception as error:
        raise ValueError(unreadable(filename, "no saved state", error)) from error
    if not isinstance(state, dict):
        raise ValueError(unreadable(filename, "no saved state", TypeError(f"it holds a {type(state).__name__}")))
    return state


class _Inert:
    """Stands in for an object of a class that is not to be run: keeps its attributes, does nothing."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _tensor_bytes(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _numpy_scalar(dtype: Any, data: bytes) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("it holds a NumPy scalar that is no number")
    return np.frombuffer(data, dtype)[0].item()


class _Function:
    """A function that a pickle may call, but not change: its BUILD instruction would set attributes otherwise."""

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
    ("torch.storage", "_load_from_bytes"): _tensor_bytes,  # torch's own would unpickle anything
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _Function(_ALLOWED[module, name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module.split(".")[:2] in (["zae_engine", "schedulers"], ["torch", "optim"]) and name.isidentifier():
            return type(name, (_Inert,), {})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no saved state needs")


def _check_size(data: bytes) -> None:
    """Raise if a few bytes ask for much memory: the numbers under which a pickle remembers things are its own."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("it asks for more memory than it can need")


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Turn inert objects into dictionaries, each object once, however often it is referred to."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Inert):
        plain: Any = {key: _plain(part, done) for key, part in vars(value).items() if key != "optimizer"}
    elif type(value) is dict:
        plain = {key: _plain(part, done) for key, part in value.items()}
    elif type(value) in (list, tuple):
        plain = type(value)([_plain(part, done) for part in value])
    else:
        return value
    done[id(value)] = plain
    return plain


def _to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _to_cpu(part) for key, part in value.items()}
    if isinstance(value, (OrderedDict, Counter)):
        moved = value.copy()  # with the versions that state_dict() attaches
        for key, part in value.items():
            moved[key] = _to_cpu(part)
        return moved
    if type(value) in (list, tuple):
        return type(value)([_to_cpu(part) for part in value])
    return value
