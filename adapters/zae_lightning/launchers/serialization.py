"""Serialization: sending objects to another process, except for the objects that it has."""

from __future__ import annotations

import copyreg
import inspect
import io
import pickle
import types
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import swa_utils
from torch.utils.data import DataLoader

MapLocation = Callable[[Any, str], Any] | None
CODE_TYPES = (type, types.ModuleType, types.FunctionType, types.MethodType)
"""The types of values that are sent by name or not at all."""


def serialize(value: Any, known: Mapping[int, Any] = {}) -> bytes:  # the default is never changed
    """Return an object as bytes, with its tensors and their data.

    Parameters
    ----------
    value : Any
        A picklable object; tensors may be on any device.
    known : mapping of int to Any
        The names of objects that the receiver has, by ``id``. The bytes contain the name instead of the object.

    Returns
    -------
    bytes
        The input of `deserialize`. Tensors are copied. `torch.multiprocessing` would share their memory, and the
        optimizers of two processes would then write into the same state.
    """
    structure, tensors = io.BytesIO(), io.BytesIO()
    pickler = _Pickler(structure, known)
    pickler.dump(value)
    torch.save(pickler.tensors, tensors)
    return pickle.dumps((structure.getvalue(), tensors.getvalue()))


def deserialize(data: bytes, known: Mapping[Any, Any] = {}, map_location: MapLocation = None) -> Any:
    """Return an object from its bytes. Unpickling executes code, so that the bytes must come from this program.

    Parameters
    ----------
    data : bytes
        The result of `serialize`.
    known : mapping of name to Any
        The objects that the bytes contain by name.
    map_location : callable, optional
        As for `torch.load`.
    """
    structure, tensors = pickle.loads(data)
    loaded = torch.load(io.BytesIO(tensors), map_location=map_location, weights_only=False)
    return _Unpickler(io.BytesIO(structure), known, loaded).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, known: Mapping[int, Any]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._known = known
        self._indices: dict[int, int] = {}
        self.tensors: list[torch.Tensor] = []

    def reducer_override(self, value: Any) -> Any:
        """Reduce optimizers and loaders without their process-local attributes, and torch's averaging functions.

        An optimizer's own ``__getstate__`` omits further attributes.
        """
        if isinstance(value, types.FunctionType) and value.__module__ == swa_utils.__name__:
            return _reduce_averaging(value)
        if isinstance(value, torch.optim.Optimizer):
            return copyreg.__newobj__, (type(value),), attributes_of(value)  # type: ignore[attr-defined]
        if isinstance(value, DataLoader):
            return copyreg.__newobj__, (type(value),), {**vars(value), "_iterator": None}  # type: ignore[attr-defined]
        return NotImplemented

    def persistent_id(self, value: Any) -> Any:
        name = self._known.get(id(value))
        if name is not None:
            return ("known", name)
        if not isinstance(value, torch.Tensor):
            return None
        if id(value) not in self._indices:
            self._indices[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return ("tensor", self._indices[id(value)])


def _reduce_averaging(function: types.FunctionType) -> Any:
    """Reduce a function of ``torch.optim.swa_utils`` to the call that has made it, ``get_ema_avg_fn(decay)``."""
    factory, _, is_local = function.__qualname__.partition(".<locals>.")
    if not is_local:
        return NotImplemented
    inner: Any = inspect.unwrap(function)  # torch.no_grad() decorates it
    values = [cell.cell_contents for cell in inner.__closure__ or ()]
    return _call, (getattr(swa_utils, factory), dict(zip(inner.__code__.co_freevars, values, strict=True)))


def _call(function: Any, arguments: Mapping[str, Any]) -> Any:
    return function(**arguments)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, known: Mapping[Any, Any], tensors: list[torch.Tensor]) -> None:
        super().__init__(file)
        self._known, self._tensors = known, tensors

    def persistent_load(self, key: tuple[str, Any]) -> Any:
        kind, name = key
        return self._tensors[name] if kind == "tensor" else self._known[name]


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that can be sent: its ``__getstate__``, if that returns a dict.

    For an optimizer these are all attributes but its hooks, and the ``step`` that a scheduler installs on it.
    """
    if isinstance(value, torch.optim.Optimizer):
        return {key: part for key, part in vars(value).items() if not key.startswith("_optimizer_") and key != "step"}
    getstate = getattr(value, "__getstate__", None)
    try:
        state = getstate() if getstate is not None else None
    except Exception:
        state = None
    return state if isinstance(state, dict) else dict(vars(value))


def children_of(value: Any) -> list[tuple[str, Any]]:
    """Return the objects that an object holds: the items of a container, or the attributes.

    Parameters
    ----------
    value : Any
        Any object. Classes, functions, methods and Python modules have no children.

    Returns
    -------
    list of (str, Any)
        The path of each child from the object, such as ``".dataset"`` or ``"['key']"``, and the child.
    """
    if isinstance(value, dict):
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, CODE_TYPES) or not hasattr(value, "__dict__"):
        return []
    submodules = value.named_children() if isinstance(value, torch.nn.Module) else ()
    return [(f".{key}", child) for key, child in [*submodules, *attributes_of(value).items()]]


def find_unpicklable(value: Any, name: str, known: Mapping[int, Any] = {}, depth: int = 8) -> tuple[str, Any]:
    """Return the innermost object that cannot be serialized, and its path.

    Parameters
    ----------
    value : Any
        An object that cannot be serialized.
    name : str
        The name of the object.
    known : mapping of int to Any
        As for `serialize`.
    depth : int
        The maximal number of steps in the path.

    Returns
    -------
    tuple of (str, Any)
        Such as ``("loader.dataset.transform", <function <lambda>>)``.
    """
    for path, child in children_of(value) if depth else ():
        if not _is_serializable(child, known):
            return find_unpicklable(child, f"{name}{path}", known, depth - 1)
    return name, value


def _is_serializable(value: Any, known: Mapping[int, Any]) -> bool:
    try:
        _Pickler(io.BytesIO(), known).dump(value)
    except Exception:
        return False
    return True
