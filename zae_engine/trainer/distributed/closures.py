"""Closures: the loss that an optimizer's closure returns, as the mean over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any] | None:
    """Return the closure among the arguments of ``optimizer.step``, the optimizer first; None if there is none."""
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    return closure if callable(closure) else None


def with_closure(args: tuple[Any, ...], kwargs: dict[str, Any], closure: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of ``optimizer.step`` with another closure."""
    if "closure" in kwargs:
        return args, {**kwargs, "closure": closure}
    return (args[0], closure, *args[2:]), kwargs


def mean_of_ranks(loss: Any, scale: float, device: torch.device) -> Any:
    """Return the mean of a loss over the ranks; every rank must call this.

    An optimizer that compares losses, such as LBFGS with a line search, calls its closure as often as they demand. With
    a loss of its own on each rank, the ranks would call it a different number of times, and wait for one another.

    Parameters
    ----------
    loss : torch.Tensor or float
        The loss of this rank; other values, such as None, are returned as they are.
    scale : float
        The factor of this rank's loss: the ratio of its samples to the mean over the ranks.
    device : torch.device
        The device for the exchange of a float.
    """
    if isinstance(loss, torch.Tensor):
        mean = loss.detach() * scale
    elif isinstance(loss, (int, float)):
        mean = torch.tensor(loss * scale, dtype=torch.float64, device=device)
    else:
        return loss
    dist.all_reduce(mean)
    mean /= dist.get_world_size()
    return mean if isinstance(loss, torch.Tensor) else mean.item()
