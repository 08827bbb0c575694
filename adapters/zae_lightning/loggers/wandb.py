"""Starting a Weights & Biases run for a trainer, with Lightning's own logger around it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger

_started: weakref.WeakSet[Any] = weakref.WeakSet()


def start_run(params: Mapping[str, Any]) -> Any:
    """Call ``wandb.init`` and return the run, which also answers ``is_live()``.

    A second run in one process does not end the first: unless told otherwise (``reinit``), it is created beside it.

    Parameters
    ----------
    params : mapping
        Arguments of ``wandb.init``.

    Returns
    -------
    wandb.Run
        The run.
    """
    import wandb

    arguments = dict(params)
    if wandb.run is not None or any(run.is_live() for run in _started):  # of another trainer, or of the user
        arguments.setdefault("reinit", "create_new")
    run = ensure_is_live(wandb.init(**arguments))
    _started.add(run)
    return run


def ensure_is_live(run: Any) -> Any:
    """Return the run with an ``is_live()`` that tells whether it goes on."""
    if not callable(getattr(run, "is_live", None)):
        flag = weakref.ref(run)
        # A run refuses new attributes by the ordinary way. `_is_finished` is wandb's own; a disabled run has none.
        object.__setattr__(run, "is_live", lambda: not getattr(flag(), "_is_finished", False))
    return run


def logger_of(run: Any) -> WandbLogger:
    """Return Lightning's own logger around a run."""
    return WandbLogger(experiment=run)


def close_run(run: Any) -> None:
    """Finish a run."""
    run.finish()
