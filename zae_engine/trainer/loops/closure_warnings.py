"""Closure warnings: settings that do not suit an optimizer which evaluates the loss several times a step."""

from __future__ import annotations

import warnings

import torch

from .._protocol import TrainerProtocol
from ..distributed.world import is_rank_zero
from ..optim import is_torch_optimizer
from ..overrides import is_overridden
from ..utilities.import_guard import guarded_import


def warn_of_closure(trainer: TrainerProtocol) -> None:
    """Warn once if gradients are clipped or accumulated for LBFGS, or accumulated for another optimizer with a closure.

    Such an optimizer compares the losses and gradients of several evaluations of one batch. Clipping changes the
    gradients of each, and where gradients accumulate, those of one evaluation are added to those of another.

    Parameters
    ----------
    trainer : Trainer
        The trainer, before a run in train mode.
    """
    state, optimizer = trainer._zae_state, trainer.optimizer
    if state.records.warned_closure or not is_torch_optimizer(optimizer) or is_overridden(trainer, "run_batch"):
        return
    given = state.config.trainer_kwargs
    clips = isinstance(optimizer, torch.optim.LBFGS) and bool(trainer.gradient_clip or given.get("gradient_clip_val"))
    accumulates = (given.get("accumulate_grad_batches") or 1) != 1
    if not (clips or accumulates) or not is_rank_zero(state.process.world):
        return
    with guarded_import("zae_lightning"):
        import zae_lightning

    if not zae_lightning.requires_closure(optimizer):
        return
    state.records.warned_closure = True
    effects = [
        *(["gradient clipping changes the gradients that it compares"] if clips else []),
        *(["accumulation adds the gradients of its evaluations to one another"] if accumulates else []),
    ]
    warnings.warn(
        f"{type(optimizer).__name__} evaluates the loss several times a step, so that {' and '.join(effects)}. Leave "
        f"{'both' if clips and accumulates else 'that'} out, and take larger batches where gradients are noisy.",
        stacklevel=2,
    )
