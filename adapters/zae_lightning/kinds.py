"""Object kinds: callbacks, loggers and strategies of Lightning."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

from .foreign_lightning import is_instance

_KINDS = {Callback: "callback", Logger: "logger", Strategy: "strategy"}


def kind_of_object(value: object) -> str | None:
    """Return the kind of a Lightning object, of ``lightning.pytorch`` or of ``pytorch_lightning``.

    Parameters
    ----------
    value : object
        Any object.

    Returns
    -------
    {"callback", "logger", "strategy"} or None
        None for other objects.
    """
    return next((kind for cls, kind in _KINDS.items() if is_instance(value, cls)), None)
