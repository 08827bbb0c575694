"""Telling whether a user has replaced a method of `Trainer`, which decides how a trainer is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._trainer import Trainer

ORIGINALS: dict[str, Callable[..., Any]] = {}
"""The methods as this package defines them; an assignment on the class does not change these."""


def is_overridden(trainer: Trainer, name: str) -> bool:
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
