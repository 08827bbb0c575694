"""What a trainer trains: the parameters of its model, and of all else that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_RECORDS = frozenset({"log_train", "log_test", "weight_buffer"})
_FEW = 32


class TrainableParameters:
    """Finds the parameters of a trainer: of the model, of other modules, of the optimizers, and lone ones.

    It is asked at every step, so it looks through the trainer only at the first one of an epoch, and when the trainer
    holds something new or one of its optimizers does.

    Parameters
    ----------
    holder : object
        The trainer.
    """

    def __init__(self, holder: object) -> None:
        self._holder = holder
        self._found: list[torch.Tensor] = []
        self._optimizers: list[torch.optim.Optimizer] = []
        self._last_fingerprint: tuple[int, ...] | None = None

    def __call__(self, search: bool = True) -> list[torch.Tensor]:
        """Return all parameters, in the same order on every rank; without ``search``, maybe those found last."""
        if search or self._fingerprint() != self._last_fingerprint:
            self._found = self._find()
            self._last_fingerprint = self._fingerprint()
            if any(isinstance(p, UninitializedParameter) for p in self._found):  # they will be others
                self._found = [p for p in self._found if not isinstance(p, UninitializedParameter)]
                self._last_fingerprint = None
        return self._found

    def _fingerprint(self) -> tuple[int, ...]:
        """Return a fingerprint that changes when the set of parameters changes."""
        holders = []
        for name, value in vars(self._holder).items():
            if name not in _RECORDS and _may_hold(value):
                holders += [id(value), len(value) if isinstance(value, (list, dict, set)) else 0]
        holders += [len(group["params"]) for optimizer in self._optimizers for group in optimizer.param_groups]
        return tuple(holders)

    def _find(self) -> list[torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        self._optimizers = []
        for part in held_values(self._holder):
            if isinstance(part, torch.nn.Module):
                found.update({id(p): p for p in part.parameters()})
            elif isinstance(part, torch.optim.Optimizer):
                self._optimizers.append(part)
                found.update({id(p): p for group in part.param_groups for p in group["params"]})
            elif isinstance(part, torch.nn.Parameter):
                found[id(part)] = part
        return list(found.values())


def buffers(holder: object) -> list[torch.Tensor]:
    """Return the buffers of the model and of other modules.

    Parameters
    ----------
    holder : object
        The trainer.
    """
    modules = [part for part in held_values(holder) if isinstance(part, torch.nn.Module)]
    found = {id(b): b for m in modules for b in m.buffers() if not isinstance(b, UninitializedBuffer)}
    return list(found.values())


def _may_hold(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_leaf and value.requires_grad
    return isinstance(value, (torch.nn.Module, torch.optim.Optimizer, list, tuple, dict, set))


def held_values(holder: object) -> Iterator[Any]:
    """Yield what a trainer holds, but for its records."""
    for name, value in list(vars(holder).items()):
        if name not in _RECORDS:
            yield from _leaves(value)


def _leaves(value: Any, depth: int = 4) -> Iterator[Any]:
    """Yield what is in lists, tuples, sets and dicts, one within another."""
    if not isinstance(value, (list, tuple, set, Mapping)):
        yield value
    elif depth and len(value):
        parts = value.values() if isinstance(value, Mapping) else value
        # A long list is of one kind, and most of those are of numbers that someone keeps.
        if len(value) <= _FEW or _may_hold(next(iter(parts))):
            for part in parts:
                yield from _leaves(part, depth - 1)
