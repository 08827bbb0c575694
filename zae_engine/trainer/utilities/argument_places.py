"""Argument places: an optimizer, a scheduler or a module in the place of another argument of the constructor."""

from __future__ import annotations

from typing import Any

from .short_names import kind_of, short_name

_WRONG = {
    "model": ("an optimizer", "a scheduler", "a loader"),
    "device": ("an optimizer", "a scheduler", "a loader", "a module"),
    "mode": ("an optimizer", "a scheduler", "a loader", "a module"),
    "optimizer": ("a scheduler", "a loader", "a module"),
    "scheduler": ("an optimizer", "a loader", "a module"),
}
_ORDER = "The order is Trainer(model, device, mode, optimizer, scheduler)."


def check_places(**arguments: Any) -> None:
    """Raise `TypeError` if an argument of the constructor obviously belongs to another place.

    A module that has a method ``step`` may be an optimizer or a scheduler of the user's own.

    Parameters
    ----------
    **arguments
        The first five arguments of the constructor, by name.
    """
    for name, value in arguments.items():
        kind = kind_of(value)
        if kind is not None and kind in _WRONG[name] and not (kind == "a module" and hasattr(value, "step")):
            raise TypeError(f"{name} is {short_name(value)}, which is no {name}. {_ORDER}")


def check_is_no_class(name: str, value: Any, example: str) -> None:
    """Raise `TypeError` if an argument is a class where an instance is needed.

    Parameters
    ----------
    name : str
        The argument.
    value : object
        Its value.
    example : str
        The arguments of the class, for the message.
    """
    if isinstance(value, type):
        raise TypeError(f"{name} is {short_name(value)}; give an instance: {value.__name__}({example}).")
