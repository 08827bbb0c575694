"""Lightning objects: installing a Lightning callback, logger or strategy on a trainer class, as an add-on."""

from __future__ import annotations

import copy
import sys
from typing import Any

from ..utilities.import_guard import guarded_import


def with_lightning_object(base_cls: type, value: Any) -> type | None:
    """Return ``base_cls`` with a Lightning callback, logger or strategy, of which each trainer has a copy.

    Parameters
    ----------
    base_cls : type
        `Trainer` or a subclass.
    value : lightning.pytorch Callback, Logger or Strategy
        The instance.

    Returns
    -------
    type or None
        A subclass; None if ``value`` is none of these.
    """
    packages = ("lightning.pytorch", "lightning", "pytorch_lightning")
    if isinstance(value, type) or not any(name in sys.modules for name in packages):
        return None
    with guarded_import("zae_lightning"):
        from zae_lightning import kind_of_object

    kind = kind_of_object(value)
    if kind is None:
        return None
    if kind == "strategy":
        return type("TrainerWithStrategy", (base_cls,), {"_zae_strategy": value})
    bases = (base_cls,) if issubclass(base_cls, LightningObjectsMixin) else (LightningObjectsMixin, base_cls)
    objects = (*getattr(base_cls, "_zae_lightning_objects", ()), (kind, value))
    return type("TrainerWithLightningObject", bases, {"_zae_lightning_objects": objects})


class LightningObjectsMixin:
    """The part of a trainer that copies the callbacks and loggers of its class."""

    callbacks: list[Any]
    loggers: list[Any]
    _zae_lightning_objects: tuple[tuple[str, Any], ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind, value in self._zae_lightning_objects:
            (self.callbacks if kind == "callback" else self.loggers).append(_copied(value))


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # it holds something unique, such as a connection
        return value
