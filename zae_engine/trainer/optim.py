"""Optimization: what the package reads of optimizers and schedulers, and does with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


def is_torch_optimizer(value: Any) -> TypeGuard[Optimizer]:
    """Whether a value is a torch optimizer, and not an object that only has some of its methods."""
    return isinstance(value, Optimizer) and isinstance(getattr(value, "param_groups", None), list)


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate of an optimizer's first parameter group; 0 without an optimizer."""
    groups = getattr(optimizer, "param_groups", None)
    return float(groups[0]["lr"]) if groups else 0.0


def clip_gradients(model: torch.nn.Module, max_norm: float) -> None:
    """Clip the gradients of a model by their norm; a ``max_norm`` of 0 leaves them alone."""
    if max_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def step_scheduler(scheduler: Any, loss: Any, kwargs: Mapping[str, Any]) -> None:
    """Step a scheduler, if there is one.

    Parameters
    ----------
    scheduler : torch.optim.lr_scheduler.LRScheduler, ReduceLROnPlateau or None
        The scheduler.
    loss : torch.Tensor, float or None
        The loss that a ``ReduceLROnPlateau`` receives; with None it is not stepped.
    kwargs : mapping
        Further arguments of ``scheduler.step``.
    """
    if scheduler is None:
        return
    if isinstance(scheduler, ReduceLROnPlateau):
        if loss is not None:
            scheduler.step(float(loss.detach() if isinstance(loss, torch.Tensor) else loss), **kwargs)
    else:
        scheduler.step(**kwargs)
