"""Sending objects to another process, but for those that it has already."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

MapLocation = Callable[[Any, str], Any] | None


def serialize(value: Any, known: Mapping[int, Any] = {}) -> bytes:  # only read
    """Return an object as bytes, with its tensors and their data.

    Parameters
    ----------
    value : Any
        A picklable object; tensors may be on any device.
    known : mapping of int to Any
        What the receiver has already, by ``id``: in place of such an object only its name travels.

    Returns
    -------
    bytes
        For `deserialize`. Tensors are copies, also where `torch.multiprocessing` would share their memory: the processes'
        optimizers must not write into one another's state.
    """
    buffer, tensors = io.BytesIO(), io.BytesIO()
    packer = _Packer(buffer, known)
    packer.dump(value)
    torch.save(packer.tensors, tensors)
    return pickle.dumps((buffer.getvalue(), tensors.getvalue()))


def deserialize(parcel: bytes, known: Mapping[Any, Any] = {}, map_location: MapLocation = None) -> Any:
    """Return what `serialize` packed. Only for what this program has packed itself: unpickling runs code.

    Parameters
    ----------
    parcel : bytes
        What `serialize` gave.
    known : mapping of name to Any
        The objects that were not sent, by the names under which the sender knew them.
    map_location : callable, optional
        As for `torch.load`.
    """
    structure, tensors = pickle.loads(parcel)
    loaded = torch.load(io.BytesIO(tensors), map_location=map_location, weights_only=False)
    return _Unpacker(io.BytesIO(structure), known, loaded).load()


class _Packer(pickle.Pickler):
    def __init__(self, file: Any, known: Mapping[int, Any]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._known = known
        self._numbers: dict[int, int] = {}
        self.tensors: list[torch.Tensor] = []

    def reducer_override(self, value: Any) -> Any:
        """Leave out what optimizers and loaders have of this process; torch's optimizers leave out too much else."""
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
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return ("tensor", self._numbers[id(value)])


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: Any, known: Mapping[Any, Any], tensors: list[torch.Tensor]) -> None:
        super().__init__(file)
        self._known, self._tensors = known, tensors

    def persistent_load(self, key: tuple[str, Any]) -> Any:
        kind, name = key
        return self._tensors[name] if kind == "tensor" else self._known[name]


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that can be sent, as it says by ``__getstate__`` if it does.

    Of an optimizer these are all but its hooks, and the ``step`` that a scheduler has put in place of its own.
    """
    if isinstance(value, torch.optim.Optimizer):
        return {key: part for key, part in vars(value).items() if not key.startswith("_optimizer_") and key != "step"}
    getstate = getattr(value, "__getstate__", None)
    try:
        state = getstate() if getstate is not None else None
    except Exception:
        state = None
    return state if isinstance(state, dict) else dict(vars(value))


def find_unpicklable(value: Any, name: str, known: Mapping[int, Any] = {}, depth: int = 8) -> tuple[str, Any]:
    """Return the innermost part of an object that cannot be packed, and how to get there.

    Parameters
    ----------
    value : Any
        What cannot be packed.
    name : str
        What to call it.
    known : mapping of int to Any
        As for `serialize`.
    depth : int
        How deep to look.

    Returns
    -------
    tuple of (str, Any)
        Such as ``("loader.dataset.transform", <function <lambda>>)``.
    """
    for part_name, part in _parts(value, name) if depth else ():
        if not _can_be_packed(part, known):
            return find_unpicklable(part, part_name, known, depth - 1)
    return name, value


def _parts(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(f"{name}[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"{name}[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, (type, type(serialize))) or not hasattr(value, "__dict__"):
        return []
    if isinstance(value, torch.nn.Module):
        return [(f"{name}.{key}", part) for key, part in [*value.named_children(), *attributes_of(value).items()]]
    return [(f"{name}.{key}", part) for key, part in attributes_of(value).items()]


def _can_be_packed(value: Any, known: Mapping[int, Any]) -> bool:
    try:
        _Packer(io.BytesIO(), known).dump(value)
    except Exception:
        return False
    return True
