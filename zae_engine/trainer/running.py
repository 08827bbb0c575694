"""Handing a run to Lightning, in this process or in one for each device."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import checks, ranks
from ._placement import length
from .loaders import in_order
from .overrides import is_overridden
from .screen import screen_here

if TYPE_CHECKING:
    from ._trainer import Trainer
    from .hooks import RunHooks


def lightning() -> Any:
    """Import the adapter, and Lightning with it, when something runs: it takes longer than torch itself."""
    return importlib.import_module("zae_lightning")


def launch(trainer: Trainer, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Call a function in a process for each device, and come out of it as if it had run here.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    function : callable
        Called with the trainer and the arguments that follow.
    *args, **kwargs
        The arguments, loaders among them.
    """
    size = len(trainer.device)
    worlds = [ranks.World(rank, size, rank, size) for rank in range(size)]
    checks.has_no_lazy_parameters(trainer)
    ranks.deal_out(trainer, worlds[0], *args)  # what cannot be, is better said here
    lightning().launch(trainer, worlds, screen_here(), function, *args, **kwargs)
    trainer._zae_state.to_resume = None


def run_epochs(trainer: Trainer, n_epoch: int, hooks: RunHooks) -> None:
    """Run some epochs: by Lightning's loop, or one by one where ``run_epoch`` is overridden.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    n_epoch : int
        How many.
    hooks : RunHooks
        Those of the run.
    """
    if trainer.mode == "train" and not is_overridden(trainer, "run_epoch") and length(trainer.loader) != 0:
        if trainer._zae_state.lightning.get("overfit_batches"):
            hooks.loader, hooks.valid_loader = in_order(hooks.loader), in_order(hooks.valid_loader)
        lightning().fit(trainer, hooks, n_epoch, hooks.loader, hooks.valid_loader)
        return
    for _ in range(n_epoch):
        hooks.by_hand()
        if trainer.lightning_trainer is not None and trainer.lightning_trainer.should_stop:
            break
