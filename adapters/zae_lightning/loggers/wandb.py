"""Weights & Biases: starting a run for a trainer, and Lightning's logger of that run."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger

_started_runs: weakref.WeakSet[Any] = weakref.WeakSet()


def start_run(params: Mapping[str, Any]) -> Any:
    """Call ``wandb.init`` and return the run, which has a method ``is_live()``.

    A second run in one process does not end the first; ``reinit`` overrides this.

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
    if wandb.run is not None or any(run.is_live() for run in _started_runs):  # of the user, or of another trainer
        arguments.setdefault("reinit", "create_new")
    run = ensure_is_live(wandb.init(**arguments))
    _started_runs.add(run)
    return run


def ensure_is_live(run: Any) -> Any:
    """Return the run with a method ``is_live()``, which returns whether the run is active."""
    if not callable(getattr(run, "is_live", None)):
        reference = weakref.ref(run)
        # A run rejects new attributes, except through object. `_is_finished` is private to wandb;
        # tests/unit/zae_lightning/loggers/test_wandb.py fails if it changes. A disabled run does not have it.
        object.__setattr__(run, "is_live", lambda: not getattr(reference(), "_is_finished", False))
    return run


def logger_of(run: Any) -> WandbLogger:
    """Return Lightning's logger of a run."""
    return WandbLogger(experiment=run)


def close_run(run: Any) -> None:
    """Finish a run."""
    run.finish()
