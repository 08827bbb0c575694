"""Epoch summary: what an epoch came to, and the steps that finish an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .history import History
from .monitor import LOSS, Monitor
from .optim import monitored_quantity, step_scheduler
from .progress import ProgressChecker


@dataclass
class EpochSummary:
    """What an epoch came to, from the end of its last phase until it is finished.

    A state that is saved in between contains the summary, so that loading the state finishes the epoch.

    Attributes
    ----------
    record : dict
        The row of the history, without ``"best"``.
    loss : float
        The mean loss that decides: of validation, or of training without validation.
    plateau : bool
        Whether a ``ReduceLROnPlateau`` receives that loss, or what is monitored in its place.
    kwargs : mapping
        Further arguments of the scheduler's ``step``.
    random : list of dict, or None
        The random states of all ranks at this point; see `zae_engine.trainer.utilities.rng.random_state`.
    better : bool or None
        What `check_better` returned; None before it is called.
    steps_scheduler : bool
        Whether the scheduler steps; False if a callback has put another one in its place.
    """

    record: dict[str, Any]
    loss: float
    plateau: bool
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    random: list[dict[str, Any]] | None = None
    better: bool | None = None
    steps_scheduler: bool = True


def record_epoch(
    summary: EpochSummary, history: History, scheduler: Any, progress: ProgressChecker, monitor: Monitor = LOSS
) -> None:
    """Do what follows `check_better`: add the row of the history, step the scheduler, count the epoch.

    Parameters
    ----------
    summary : EpochSummary
        The epoch.
    history : History
        Receives the row.
    scheduler : torch.optim.lr_scheduler.LRScheduler, ReduceLROnPlateau or None
        The scheduler, if it steps once an epoch.
    progress : ProgressChecker
        Counts the epoch.
    monitor : Monitor, optional
        What a ``ReduceLROnPlateau`` receives that names nothing else, by default the loss.
    """
    history.add({**summary.record, "best": summary.better})
    received = summary.loss if monitor.name is None else monitor.find(summary.record)
    loss = monitored_quantity(scheduler, received if summary.plateau else None, summary.record)
    step_scheduler(scheduler if summary.steps_scheduler else None, loss, summary.kwargs)
    progress.update_epoch()
