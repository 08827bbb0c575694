"""What a trainer trains: the parameters of its model, and of all else that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

if TYPE_CHECKING:
    from .._trainer import Trainer

_RECORDS = frozenset({"log_train", "log_test", "weight_buffer"})
_FEW = 32


class Trained:
    """Finds the parameters of a trainer: of the model, of other modules, of the optimizers, and lone ones.

    It is asked at every step, so it looks through the trainer only at the first one of an epoch, and when the trainer
    holds something new or one of its optimizers does.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._found: list[torch.Tensor] = []
        self._optimizers: list[torch.optim.Optimizer] = []
        self._holders: tuple[int, ...] | None = None

    def __call__(self, anew: bool = True) -> list[torch.Tensor]:
        """Return all parameters, on every rank in the same order; unless ``anew``, maybe those of the last time."""
        if anew or self._present_holders() != self._holders:
            self._found = self._find()
            self._holders = self._present_holders()
            if any(isinstance(p, UninitializedParameter) for p in self._found):  # they will be others
                self._found = [p for p in self._found if not isinstance(p, UninitializedParameter)]
                self._holders = None
        return self._found

    def _present_holders(self) -> tuple[int, ...]:
        """Return what is another value when there are other parameters."""
        holders = []
        for name, value in vars(self._trainer).items():
            if name not in _RECORDS and _may_hold(value):
                holders += [id(value), len(value) if isinstance(value, (list, dict, set)) else 0]
        holders += [len(group["params"]) for optimizer in self._optimizers for group in optimizer.param_groups]
        return tuple(holders)

    def _find(self) -> list[torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        self._optimizers = []
        for part in _held(self._trainer):
            if isinstance(part, torch.nn.Module):
                found.update({id(p): p for p in part.parameters()})
            elif isinstance(part, torch.optim.Optimizer):
                self._optimizers.append(part)
                found.update({id(p): p for group in part.param_groups for p in group["params"]})
            elif isinstance(part, torch.nn.Parameter):
                found[id(part)] = part
        return list(found.values())


def buffers(trainer: Trainer) -> list[torch.Tensor]:
    """Return the buffers of the model and of other modules.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    """
    modules = [part for part in _held(trainer) if isinstance(part, torch.nn.Module)]
    found = {id(b): b for m in modules for b in m.buffers() if not isinstance(b, UninitializedBuffer)}
    return list(found.values())


def _may_hold(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_leaf and value.requires_grad
    return isinstance(value, (torch.nn.Module, torch.optim.Optimizer, list, tuple, dict, set))


def _held(trainer: Trainer) -> Iterator[Any]:
    """Yield what a trainer holds, but for its records."""
    for name, value in list(vars(trainer).items()):
        if name not in _RECORDS:
            yield from _parts(value)


def _parts(value: Any, depth: int = 4) -> Iterator[Any]:
    """Yield what is in lists, tuples, sets and dicts, one within another."""
    if not isinstance(value, (list, tuple, set, Mapping)):
        yield value
    elif depth and len(value):
        parts = value.values() if isinstance(value, Mapping) else value
        # A long list is of one kind, and most of those are of numbers that someone keeps.
        if len(value) <= _FEW or _may_hold(next(iter(parts))):
            for part in parts:
                yield from _parts(part, depth - 1)
