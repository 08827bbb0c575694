"""Optimization: what the package reads of optimizers and schedulers, and does with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .utilities.sharded_tensors import clip_norm, is_sharded


def is_torch_optimizer(value: Any) -> TypeGuard[Optimizer]:
    """Whether a value is a complete torch optimizer.

    An optimizer that wraps another one often has only some of the methods, or is a subclass that never calls
    ``Optimizer.__init__``, so that it has no defaults, no state or no step hooks. Lightning cannot use these.
    """
    if not isinstance(value, Optimizer) or not isinstance(getattr(value, "param_groups", None), list):
        return False
    return (  # written out, since each step asks
        hasattr(value, "defaults")
        and hasattr(value, "state")
        and hasattr(value, "_optimizer_step_pre_hooks")
        and hasattr(value, "_optimizer_step_post_hooks")
    )


def learning_rate(optimizer: Any) -> float | None:
    """Return the learning rate of an optimizer's first parameter group.

    Returns
    -------
    float or None
        0 without an optimizer; None if the optimizer has no rate, such as Adafactor with ``lr=None``.
    """
    groups = getattr(optimizer, "param_groups", None)
    if not groups:
        return 0.0
    try:
        return float(groups[0]["lr"])
    except (KeyError, TypeError):
        return None


def clip_gradients(model: torch.nn.Module, max_norm: float) -> None:
    """Clip the gradients of a model by their norm; a ``max_norm`` of 0 leaves them alone."""
    if max_norm:
        parameters = list(model.parameters())
        clip = clip_norm if any(map(is_sharded, parameters)) else torch.nn.utils.clip_grad_norm_
        clip(parameters, max_norm)


def has_modes(optimizer: Any) -> bool:
    """Whether an optimizer has methods ``train`` and ``eval``, as schedule-free optimizers do."""
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))


def set_optimizer_mode(optimizer: Any, mode: str) -> None:
    """Switch an optimizer that has modes to ``"train"``, or for any other mode to evaluation."""
    if has_modes(optimizer):
        optimizer.train() if mode == "train" else optimizer.eval()


def result_name(name: str) -> str:
    """Return the name that a result of validation has among those of an epoch: ``test_loss`` for ``val_loss``."""
    return f"test_{name[4:]}" if name.startswith("val_") else name


def monitored_quantity(scheduler: Any, loss: Any, values: Mapping[str, Any]) -> Any:
    """Return what a ``ReduceLROnPlateau`` receives: the loss, or the value whose name is its attribute ``monitor``.

    Parameters
    ----------
    scheduler : ReduceLROnPlateau
        The scheduler; its attribute ``monitor`` names a value, ``"test_acc"`` for instance.
    loss : torch.Tensor, float or None
        The loss; with None, nothing is due.
    values : mapping
        The results of an epoch, or what a step returned.

    Raises
    ------
    ValueError
        If there is no such value.
    """
    name = getattr(scheduler, "monitor", None)
    if not isinstance(name, str) or loss is None:
        return loss
    for key in (name, result_name(name)):
        if key in values:
            return values[key]
    raise ValueError(f"scheduler.monitor={name!r} is not among the results: {sorted(map(str, values))}.")


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
