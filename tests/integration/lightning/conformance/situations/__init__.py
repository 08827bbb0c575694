"""Situations: what users of Lightning do, one function each, in a file for each kind.

A situation receives a `Player` and returns what it has observed, as a dict of plain values and tensors. Tensors are
compared exactly, floats to a relative 1e-5. Its docstring is its row in the documentation's table.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..players import WAYS, Player

SITUATIONS: dict[str, Situation] = {}


@dataclass(frozen=True)
class Situation:
    """One situation: its function, the ways in which it is played, and what is expected."""

    name: str
    kind: str
    play: Callable[[Player], dict[str, Any]]
    ways: tuple[str, ...]
    expected: Mapping[str, Any] | None

    @property
    def text(self) -> str:
        return " ".join((self.play.__doc__ or self.name).split())

    @property
    def is_known_difference(self) -> bool:
        return self.text.startswith("A known difference")


def situation(
    function: Callable[[Player], dict[str, Any]] | None = None,
    *,
    ways: tuple[str, ...] = WAYS,
    expected: Mapping[str, Any] | None = None,
) -> Any:
    """Register a situation.

    Parameters
    ----------
    function : callable
        Plays the situation and returns what it has observed.
    ways : tuple of str, optional
        Where it is played beside the hand-written module.
    expected : mapping, optional
        What is expected, where a hand-written module has no such thing; else the hand-written module says it.
    """

    def register(function: Callable[[Player], dict[str, Any]]) -> Callable[[Player], dict[str, Any]]:
        kind = function.__module__.rpartition(".")[2]
        name = f"{kind}.{function.__name__}"
        if name in SITUATIONS:
            raise ValueError(f"there are two situations of the name {name}")
        SITUATIONS[name] = Situation(name, kind, function, ways, expected)
        return function

    return register(function) if function is not None else register


def all_situations() -> dict[str, Situation]:
    """Import every file of this folder and return the situations by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(SITUATIONS)
