"""Telling Lightning's parts apart."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

_KINDS = {Callback: "callback", Logger: "logger", Strategy: "strategy"}


def kind_of_object(value: Any) -> str | None:
    """Return what an object is to Lightning.

    Parameters
    ----------
    value : Any
        Any object.

    Returns
    -------
    {"callback", "logger", "strategy"} or None
        None if it is none of these.
    """
    return next((kind for part, kind in _KINDS.items() if isinstance(value, part)), None)
