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

import numpy as np
import torch
from torch.optim import swa_utils
from torch.utils.data import DataLoader

from .memory_file import MIN_BYTES, MappedMemory, MemoryRanges

MapLocation = Callable[[Any, str], Any] | None
_new_object: Any = vars(copyreg)["__newobj__"]  # pickle's name for an object that is made without ``__init__``
CODE_TYPES = (type, types.ModuleType, types.FunctionType, types.MethodType)
"""The types of values that are sent by name or not at all."""


def serialize(value: Any, known: Mapping[int, Any] = {}, memory: MemoryRanges | None = None) -> bytes:
    """Return an object as bytes, with its tensors and their data.

    Parameters
    ----------
    value : Any
        A picklable object; tensors may be on any device.
    known : mapping of int to Any
        The names of objects that the receiver has, by ``id``. The bytes contain the name instead of the object.
    memory : MemoryRanges, optional
        It gets the data of large tensors and arrays, which the bytes then do not contain. Excepted are tensors that
        training writes to (those of modules and optimizers, and all that require gradients), subclasses of tensors,
        and tensors that are not dense or not on the CPU; they are copied.

    Returns
    -------
    bytes
        The input of `deserialize`. Tensors are copied. `torch.multiprocessing` would share their memory, and the
        optimizers of two processes would then write into the same state.
    """
    structure, tensors = io.BytesIO(), io.BytesIO()
    pickler = _Pickler(structure, known, memory)
    pickler.dump(value)
    views = pickler.views_in(memory) if memory is not None else {}
    torch.save([tensor for index, tensor in enumerate(pickler.tensors) if index not in views], tensors)
    return pickle.dumps((structure.getvalue(), tensors.getvalue(), views, pickler.arrays))


def deserialize(
    data: bytes, known: Mapping[Any, Any] = {}, map_location: MapLocation = None, memory: MappedMemory | None = None
) -> Any:
    """Return an object from its bytes. Unpickling executes code, so that the bytes must come from this program.

    Parameters
    ----------
    data : bytes
        The result of `serialize`.
    known : mapping of name to Any
        The objects that the bytes contain by name.
    map_location : callable, optional
        As for `torch.load`.
    memory : MappedMemory, optional
        The data that the bytes do not contain.
    """
    structure, copied, views, arrays = pickle.loads(data)
    tensors = iter(torch.load(io.BytesIO(copied), map_location=map_location, weights_only=False))
    buffers: list[memoryview] = []
    loaded: list[torch.Tensor] = []
    if memory is not None:
        buffers = [memory.buffer(index) for index, _ in arrays]
        buffers = [b.toreadonly() if is_readonly else b for b, (_, is_readonly) in zip(buffers, arrays, strict=True)]
        for index in range(max(views, default=-1) + 1):
            loaded.append(_view(memory, *views[index]) if index in views else next(tensors))
    return _Unpickler(io.BytesIO(structure), known, [*loaded, *tensors], buffers).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, known: Mapping[int, Any], memory: MemoryRanges | None = None) -> None:
        self._arrays = _Arrays(memory) if memory is not None else None
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=self._arrays)
        self._known, self._memory = known, memory
        self._indices: dict[int, int] = {}
        self._written_storages: set[Any] = set()
        self.tensors: list[torch.Tensor] = []

    @property
    def arrays(self) -> list[tuple[int, bool]]:
        """Where the data of arrays are that are not pickled."""
        return self._arrays.placed if self._arrays is not None else []

    def reducer_override(self, value: Any) -> Any:
        """Reduce optimizers and loaders without their process-local attributes, and torch's averaging functions.

        An optimizer's own ``__getstate__`` omits further attributes.
        """
        if isinstance(value, types.FunctionType) and value.__module__ == swa_utils.__name__:
            return _reduce_averaging(value)
        if isinstance(value, torch.optim.Optimizer):
            self._exclude(value.state)
            return _new_object, (type(value),), attributes_of(value)
        if isinstance(value, DataLoader):
            return _new_object, (type(value),), {**vars(value), "_iterator": None}
        if isinstance(value, torch.nn.Module):
            self._exclude([value._parameters, value._buffers])
        if type(value) is np.memmap and self._memory is not None:  # which NumPy pickles with its data
            return _as_memmap, (value.view(np.ndarray),)
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

    def views_in(self, memory: MemoryRanges) -> dict[int, tuple[Any, ...]]:
        """Add the data of large tensors, and return the arguments of `_view` by the index of the tensor."""
        is_plain = [_is_plain_data(tensor) for tensor in self.tensors]
        self._exclude([tensor for tensor, plain in zip(self.tensors, is_plain, strict=True) if not plain])
        views = {}
        for index, tensor in enumerate(self.tensors):
            if is_plain[index] and (key := _storage_key(tensor)) not in self._written_storages and key[1] >= MIN_BYTES:
                address, n_bytes = key
                layout = tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
                views[index] = (memory.add(address, n_bytes, address, tensor), *layout)
        return views

    def _exclude(self, value: Any) -> None:
        """Note the storages of tensors in containers as those that are copied."""
        if isinstance(value, torch.Tensor):
            self._written_storages.add(_storage_key(value))
        elif isinstance(value, (Mapping, list, tuple)):
            for part in value.values() if isinstance(value, Mapping) else value:
                self._exclude(part)


class _Arrays:
    """Receives the data of arrays; it is no part of the pickler, which would then be in a cycle and keep the model.

    Attributes
    ----------
    placed : list of (int, bool)
        The index of each array's data in the memory, and whether it is read-only.
    """

    def __init__(self, memory: MemoryRanges) -> None:
        self._memory = memory
        self.placed: list[tuple[int, bool]] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Add the data of an array; return true to pickle them instead."""
        data = buffer.raw()
        if data.nbytes < MIN_BYTES:
            return True
        address = np.frombuffer(data, np.uint8).ctypes.data
        block: Any = data.obj
        while isinstance(block, np.ndarray) and isinstance(block.base, (np.ndarray, torch.Tensor)):
            block = block.base
        if isinstance(block, np.ndarray):
            start = block.ctypes.data
        else:
            start = block.untyped_storage().data_ptr() if isinstance(block, torch.Tensor) else address
        self.placed.append((self._memory.add(address, data.nbytes, start, data), data.readonly))
        return False


def _is_plain_data(tensor: torch.Tensor) -> bool:
    """Whether a tensor is its dtype, its shape and its data in the memory of the CPU, and nothing else."""
    is_dense = type(tensor) is torch.Tensor and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return (
        is_dense
        and not (tensor.requires_grad or tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and not (tensor.__dict__ or tensor._backward_hooks)
    )


def _storage_key(tensor: torch.Tensor) -> Any:
    """Return the address and the size of a tensor's memory; None if it has none."""
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except (NotImplementedError, RuntimeError, ValueError):  # a sparse tensor, for instance
        return None


def _view(
    memory: MappedMemory, index: int, dtype: torch.dtype, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> torch.Tensor:
    with torch.no_grad():
        return torch.empty(0, dtype=dtype).set_(memory.storage(index), offset, shape, stride)


def _as_memmap(array: Any) -> Any:
    return array.view(np.memmap)


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
    def __init__(
        self, file: Any, known: Mapping[Any, Any], tensors: list[torch.Tensor], buffers: list[memoryview]
    ) -> None:
        super().__init__(file, buffers=buffers)
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
