"""Parameters: find the trainable parameters and the buffers of a trainer, in its model and its other attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_RECORDS = frozenset({"log_train", "log_test", "weight_buffer"})
_MAX_SEARCHED = 32
"""The longest container that is searched whatever its first element is."""


class TrainableParameters:
    """Finds the parameters of a trainer: of the model, of other modules and of the optimizers, and single ones.

    Every step calls it. It searches the trainer at the first step of an epoch, and when an attribute or the parameter
    groups of an optimizer have changed. Otherwise it returns the result of the last search.

    Parameters
    ----------
    holder : object
        The trainer.
    """

    def __init__(self, holder: object) -> None:
        self._holder = holder
        self._parameters: list[torch.Tensor] = []
        self._optimizers: list[torch.optim.Optimizer] = []
        self._last_fingerprint: tuple[int, ...] | None = None

    def __call__(self, search: bool = True) -> list[torch.Tensor]:
        """Return all parameters, in the same order on every rank. ``search`` forces a search of the trainer."""
        if search or self._fingerprint() != self._last_fingerprint:
            self._parameters = self._find()
            self._last_fingerprint = self._fingerprint()
            if any(isinstance(p, UninitializedParameter) for p in self._parameters):
                self._parameters = [p for p in self._parameters if not isinstance(p, UninitializedParameter)]
                self._last_fingerprint = None  # the next call searches again, since the first batch initializes them
        return self._parameters

    def _fingerprint(self) -> tuple[int, ...]:
        """Return a fingerprint that changes when the set of parameters changes."""
        fingerprint = []
        for name, value in vars(self._holder).items():
            if name not in _RECORDS and _may_hold_parameters(value):
                fingerprint += [id(value), len(value) if isinstance(value, (list, dict, set)) else 0]
        fingerprint += [len(group["params"]) for optimizer in self._optimizers for group in optimizer.param_groups]
        return tuple(fingerprint)

    def _find(self) -> list[torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        self._optimizers = []
        for value in held_values(self._holder):
            if isinstance(value, torch.nn.Module):
                found.update({id(p): p for p in value.parameters()})
            elif isinstance(value, torch.optim.Optimizer):
                self._optimizers.append(value)
                found.update({id(p): p for group in value.param_groups for p in group["params"]})
            elif isinstance(value, torch.nn.Parameter):
                found[id(value)] = value
        return list(found.values())


def buffers(holder: object) -> list[torch.Tensor]:
    """Return the buffers of the model and of other modules.

    Parameters
    ----------
    holder : object
        The trainer.
    """
    modules = [value for value in held_values(holder) if isinstance(value, torch.nn.Module)]
    found = {id(b): b for m in modules for b in m.buffers() if not isinstance(b, UninitializedBuffer)}
    return list(found.values())


def _may_hold_parameters(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_leaf and value.requires_grad
    return isinstance(value, (torch.nn.Module, torch.optim.Optimizer, list, tuple, dict, set))


def held_values(holder: object) -> Iterator[Any]:
    """Yield the values of a trainer's attributes and the elements of its containers, except its logs and weights."""
    for name, value in list(vars(holder).items()):
        if name not in _RECORDS:
            yield from _leaves(value)


def _leaves(value: Any, depth: int = 4) -> Iterator[Any]:
    """Yield the elements of nested lists, tuples, sets and mappings."""
    if not isinstance(value, (list, tuple, set, Mapping)):
        yield value
    elif depth and len(value):
        elements = value.values() if isinstance(value, Mapping) else value
        # A long container has elements of one type, mostly numbers that a user collects. The first element decides.
        if len(value) <= _MAX_SEARCHED or _may_hold_parameters(next(iter(elements))):
            for element in elements:
                yield from _leaves(element, depth - 1)
