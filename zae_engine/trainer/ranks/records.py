"""Putting the logs of all ranks together on each, so that what is computed from them is the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ledger import merge

if TYPE_CHECKING:
    from .._trainer import Trainer


def merge_logs(trainer: Trainer) -> None:
    """Make the log of the present mode, and its part of the loss history, those of all ranks; once an epoch.

    Parameters
    ----------
    trainer : Trainer
        The trainer; alone, nothing happens. Every rank must call this.
    """
    world = trainer._zae_state.world
    if world is None or not world.ledger.is_open:
        return
    training = trainer.mode == "train"
    log = trainer.log_train if training else trainer.log_test
    history = trainer.loss_history_train if training else trainer.loss_history_test
    n_logged = len(log.get("loss", ()))
    merged = merge(world.gather(world.ledger.entries(log)), training)
    start = world.ledger.history_starts[trainer.mode]
    if len(history) - start == n_logged:
        history[start:] = merged.get("loss", [])
    log.clear()
    log.update(merged)
