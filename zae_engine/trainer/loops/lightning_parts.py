"""Lightning parts: whether something of Lightning's that a trainer has been given decides how it trains."""

from __future__ import annotations

from collections.abc import Iterable

from .._protocol import TrainerProtocol


def has_lightning_parts(trainer: TrainerProtocol) -> bool:
    """Whether callbacks, or the accumulation of gradients, are given to a trainer.

    Modes, gradients, schedulers and metrics are then Lightning's where zae-engine 0.7.6 does otherwise; 0.7.6 has
    neither. Loggers only receive values, so they are no such parts, and neither are the callbacks of add-ons.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    bool
        Whether there is such a part.
    """
    callbacks = trainer.callbacks
    if isinstance(callbacks, Iterable) and any(not getattr(part, "is_the_trainers", False) for part in callbacks):
        return True
    return trainer._zae_state.config.trainer_kwargs.get("accumulate_grad_batches", 1) not in (None, 1)
