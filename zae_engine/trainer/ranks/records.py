"""Putting the logs of all ranks together on each, so that what is computed from them is the same everywhere."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from .._records import losses_of
from ..log import columns, log_of, replace
from ..results import numbers
from .ledger import merge
from .trained import buffers

if TYPE_CHECKING:
    from .._trainer import Trainer


def begin_logs(trainer: Trainer) -> None:
    """Note that the logs are cleared and an epoch begins; alone, nothing happens.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    """
    if (world := trainer._zae_state.world) is not None:
        world.ledger.begin(*(len(losses_of(trainer, mode)) for mode in ("train", "test")))


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
    log = log_of(trainer)
    history, start = losses_of(trainer, trainer.mode), world.ledger.history_starts[trainer.mode]
    n_logged = len(columns(log).get("loss", ()))
    merged = merge(world.gather(world.ledger.entries(log)), training)
    if len(history) - start == n_logged:
        history.truncate(start)
        history.extend(merged.get("loss", []))
    replace(log, merged)


def agree_on_metrics(trainer: Trainer, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of an epoch, with rank 0's numbers on all ranks, so that what depends on them is the same.

    Parameters
    ----------
    trainer : Trainer
        The trainer; alone, its metrics are returned. Every rank must call this.
    metrics : mapping
        What this rank has computed.

    Returns
    -------
    dict
        The metrics.

    Warns
    -----
    UserWarning
        Once, where the ranks' numbers differ: they were not computed from the logs, but from what each rank has seen.
    """
    state = trainer._zae_state
    if state.world is None:
        return dict(metrics)
    told = state.world.gather(numbers(metrics))
    differing = sorted(
        name for name in told[0] if any(not _close(told[0][name], other.get(name)) for other in told[1:])
    )
    if differing and not state.told_of_differing_metrics:
        state.told_of_differing_metrics = True
        warnings.warn(
            f"The processes computed different values of {', '.join(differing)}; those of rank 0 are used. Compute "
            f"metrics from log_train and log_test, which hold what all processes have seen, or with torchmetrics.",
            stacklevel=2,
        )
    return {name: told[0][name] if name in differing else value for name, value in metrics.items()}


def _close(first: float, second: float | None) -> bool:
    return second is not None and (math.isclose(first, second, rel_tol=1e-6) or (first != first and second != second))


def broadcast_buffers(trainer: Trainer) -> None:
    """Give all ranks the buffers of rank 0, such as the running statistics of batch norm; they train by their own."""
    if trainer._zae_state.world is not None and dist.is_initialized():
        for buffer in buffers(trainer):
            dist.broadcast(buffer, src=0)
