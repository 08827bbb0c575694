"""Gradient clearing: callbacks see gradients before they are cleared, although a step begins without them.

zae-engine clears the gradients before ``train_step``, which may call ``backward`` by itself; Lightning clears them
after it, and calls ``on_before_zero_grad`` there. So where a callback has this hook, the gradients of the step before
are set aside while ``train_step`` runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback


def sees_gradients(callbacks: Iterable[Any]) -> bool:
    """Whether a callback has the hook ``on_before_zero_grad``."""
    return any(
        getattr(callback.on_before_zero_grad, "__func__", None) is not Callback.on_before_zero_grad
        for callback in callbacks
    )


class KeptGradients:
    """The gradients of the previous step, while the next one runs.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer of the step; one with a ``zero_grad`` of its own clears as it does, and nothing is kept.
    """

    def __init__(self, optimizer: Any) -> None:
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        if type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self._kept = [(p, p.grad) for p in parameters if p.grad is not None]

    def show(self) -> Callable[..., None] | None:
        """Put the gradients back, and return what clears them; None if ``train_step`` has computed others."""
        if not self._kept or any(parameter.grad is not None for parameter, _ in self._kept):
            return None
        for parameter, gradient in self._kept:
            parameter.grad = gradient
        return self._clear

    def _clear(self, *args: Any) -> None:
        for parameter, _ in self._kept:
            parameter.grad = None
