"""Short names: objects in error messages, in a few words instead of a repr of many lines."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

LONGEST = 60
"""The longest repr that is shown as it is."""

_KINDS: dict[str, Any] = {
    "an optimizer": Optimizer,
    "a scheduler": (LRScheduler, ReduceLROnPlateau),
    "a module": torch.nn.Module,
    "a loader": DataLoader,
}


def kind_of(value: Any) -> str | None:
    """Return ``"an optimizer"``, ``"a scheduler"``, ``"a module"`` or ``"a loader"``; None for another object."""
    return next((kind for kind, cls in _KINDS.items() if isinstance(value, cls)), None)


def short_name(value: Any) -> str:
    """Return an object in a few words.

    Parameters
    ----------
    value : object
        Any object.

    Returns
    -------
    str
        Its kind and class, or its repr if that is short.

    Examples
    --------
    >>> short_name(torch.nn.Linear(2, 1)), short_name(torch.optim.SGD), short_name("cpu")
    ('a module (Linear)', 'the class SGD', "'cpu'")
    """
    name = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if (kind := kind_of(value)) is not None:
        return f"{kind} ({name})"
    try:
        text = repr(value)
    except Exception:  # an object of the user's may have none
        return f"of type {name}"
    return text if len(text) <= LONGEST and "\n" not in text else f"of type {name}"
