"""Overrides: which methods of `Trainer` a user has replaced, which decides how Lightning runs a trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._protocol import TrainerProtocol

ORIGINALS: dict[str, Callable[..., Any]] = {}
"""The methods as `Trainer` defines them; an assignment on the class does not change these."""


def is_overridden(trainer: TrainerProtocol, name: str) -> bool:
    """Whether a subclass, an add-on, or an assignment on class or instance has replaced a method of `Trainer`.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    name : str
        One of the methods in `ORIGINALS`.

    Returns
    -------
    bool
        Whether it is replaced.
    """
    return getattr(getattr(trainer, name), "__func__", None) is not ORIGINALS[name]
