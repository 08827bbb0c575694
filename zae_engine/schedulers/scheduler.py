"""Scheduler: the schedules of zae-engine, linear warm-up and cosine annealing."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer

from .core import SchedulerBase


class WarmUpScheduler(SchedulerBase):
    """Raise the learning rate linearly from ``eta_min`` to the rate of the optimizer.

    After ``k`` steps the rate is ``eta_min + (lr - eta_min) * (k + 1) / total_iters``, since construction takes the
    first step.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer whose learning rate is scheduled.
    total_iters : int
        Number of steps until the rate of the optimizer is reached.
    eta_min : float, optional
        The rate at the start of the line, by default 0.
    last_epoch : int, optional
        As in `torch.optim.lr_scheduler.LRScheduler`, by default -1.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> scheduler = WarmUpScheduler(optimizer, total_iters=4)
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, eta_min: float = 0, last_epoch: int = -1) -> None:
        super().__init__(optimizer, total_iters, eta_min, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of every parameter group at the current step."""
        return [self.eta_min + (lr - self.eta_min) * self._step_count / self.total_iters for lr in self.base_lrs]


class CosineAnnealingScheduler(SchedulerBase):
    """Lower the learning rate from the rate of the optimizer to ``eta_min`` along half a cosine.

    After ``k`` steps the rate is ``eta_min + (lr - eta_min) * (1 + cos(pi * (k + 1) / total_iters)) / 2`` (Loshchilov
    and Hutter, "SGDR", 2017, without the restarts).

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer whose learning rate is scheduled.
    total_iters : int
        Number of steps until ``eta_min`` is reached.
    eta_min : float, optional
        The rate at the end of the curve, by default 0.
    last_epoch : int, optional
        As in `torch.optim.lr_scheduler.LRScheduler`, by default -1.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> scheduler = CosineAnnealingScheduler(optimizer, total_iters=2)
    >>> round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, eta_min: float = 0, last_epoch: int = -1) -> None:
        super().__init__(optimizer, total_iters, eta_min, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of every parameter group at the current step."""
        annealing = 0.5 * (math.cos(math.pi * self._step_count / self.total_iters) + 1)
        return [self.eta_min + (lr - self.eta_min) * annealing for lr in self.base_lrs]
