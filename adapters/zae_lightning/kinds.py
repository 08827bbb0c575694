"""Object kinds: callbacks, loggers and strategies of Lightning."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

_KINDS = {Callback: "callback", Logger: "logger", Strategy: "strategy"}


def kind_of_object(value: object) -> str | None:
    """Return the kind of a Lightning object.

    Parameters
    ----------
    value : object
        Any object.

    Returns
    -------
    {"callback", "logger", "strategy"} or None
        None for other objects.
    """
    return next((kind for cls, kind in _KINDS.items() if isinstance(value, cls)), None)
