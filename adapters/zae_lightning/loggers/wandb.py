"""Starting a Weights & Biases run for a trainer, with Lightning's own logger around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger


def start_wandb(run: Any = None, **params: Any) -> WandbLogger:
    """Return Lightning's `WandbLogger` around a new wandb run.

    A second run in one process does not end the first: unless told otherwise (``reinit``), it is created beside it.

    Parameters
    ----------
    run : wandb.Run, optional
        A run that has been started already.
    **params
        Arguments of ``wandb.init``.

    Returns
    -------
    lightning.pytorch.loggers.WandbLogger
        ``logger.experiment`` is the run; it answers ``is_live()``.
    """
    run = run if run is not None else init_run(params)
    return WandbLogger(experiment=run)


def init_run(params: Mapping[str, Any]) -> Any:
    """Call ``wandb.init`` and return the run, which also answers ``is_live()``.

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
    if wandb.run is not None:  # taken by another trainer, or by the user
        arguments.setdefault("reinit", "create_new")
    run = wandb.init(**arguments)
    # A run refuses new attributes by the ordinary way. `_is_finished` is wandb's own flag; a disabled run has none.
    object.__setattr__(run, "is_live", lambda: not getattr(run, "_is_finished", False))
    return run
