"""Overrides: which methods of `Trainer` a user has replaced, which decides how Lightning runs a trainer."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from types import CodeType
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


def defines_attribute(cls: type, name: str) -> bool:
    """Whether a subclass of `Trainer` uses an attribute's name for something else.

    Parameters
    ----------
    cls : type
        The class of a trainer.
    name : str
        The attribute.

    Returns
    -------
    bool
        Whether a class outside of zae-engine defines the attribute, or one of its methods assigns it.
    """
    classes = [base for base in cls.__mro__ if not base.__module__.startswith("zae_engine.")]
    return any(
        name in vars(base) or any(_assigns(function.__code__, name) for function in _functions(base))
        for base in classes
    )


def _functions(cls: type) -> Iterator[Any]:
    return (value for value in vars(cls).values() if hasattr(value, "__code__"))


def _assigns(code: CodeType, name: str) -> bool:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return any(i.opname == "STORE_ATTR" and i.argval == name for i in dis.get_instructions(code)) or any(
        _assigns(inner, name) for inner in nested
    )
