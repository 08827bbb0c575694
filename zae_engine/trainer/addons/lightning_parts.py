"""Installing a callback, a logger or a strategy of Lightning's on a trainer class, as if it were an add-on."""

from __future__ import annotations

import copy
import importlib
import sys
from typing import Any


def with_part(base_cls: Any, part: Any) -> Any:
    """Return ``base_cls`` with an instance of a Lightning callback, logger or strategy, copied for each trainer.

    Parameters
    ----------
    base_cls : type
        `Trainer` or a subclass.
    part : lightning.pytorch Callback, Logger or Strategy
        The instance.

    Returns
    -------
    type or None
        A subclass; None if ``part`` is none of these.
    """
    if isinstance(part, type) or not any(name in sys.modules for name in ("lightning.pytorch", "lightning")):
        return None
    kind = importlib.import_module("zae_lightning").kind_of_part(part)
    if kind is None:
        return None

    class TrainerWithPart(base_cls):  # type: ignore[misc]
        if kind == "strategy":
            _zae_strategy = part
        else:

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                (self.callbacks if kind == "callback" else self.loggers).append(_copy_of(part))

    return TrainerWithPart


def _copy_of(part: Any) -> Any:
    try:
        return copy.deepcopy(part)
    except Exception:  # it holds something that there is one of, such as a connection
        return part
