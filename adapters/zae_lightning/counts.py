"""Carrying Lightning's counts of epochs and steps from one run to the next.

Every run has a fresh ``L.Trainer``, but its ``current_epoch`` and ``global_step`` shall go on. They are set in the way
in which Lightning itself resumes from a checkpoint, through ``fit_loop.load_state_dict``; this has the side effect that
is needed here, that Lightning does not call ``iter()`` on the loader a second time, which would draw from the random
number generator and change every number after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as L

_OPTIMIZER_STEPS = "epoch_loop.automatic_optimization.optim_progress"
_MANUAL_STEPS = "epoch_loop.manual_optimization.optim_step_progress"
_BATCHES = "epoch_loop.batch_progress"
_EPOCH_LOOP = "epoch_loop.state_dict"


def read(trainer: L.Trainer) -> dict[str, int]:
    """Return what has been counted: finished epochs, batches, optimizer steps, and batches as loggers count them.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        A trainer whose ``fit`` is over, finished or broken off.

    Returns
    -------
    dict of str to int
        ``"epochs"``, ``"batches"``, ``"steps"`` and ``"logged"``.
    """
    state = trainer.fit_loop.state_dict()
    return {
        "epochs": state["epoch_progress"]["current"]["completed"],
        "batches": state[_BATCHES]["total"]["completed"],
        "steps": trainer.global_step,
        "logged": state[_EPOCH_LOOP]["_batches_that_stepped"],
    }


def count_step(trainer: L.Trainer) -> None:
    """Count an optimizer step that did not go through Lightning's wrapper.

    Private to Lightning, but nothing public counts a step; tests/zae_lightning/test_counts.py fails if it changes.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        A trainer with manual optimization.
    """
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def carry_on(trainer: L.Trainer, counts: Mapping[str, int]) -> None:
    """Let a fresh trainer count on from ``counts``; nothing happens if they are empty.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        A trainer that has not run yet.
    counts : mapping of str to int
        What `read` gave after the run before.
    """
    if not counts.get("epochs") and not counts.get("steps"):
        return
    state = trainer.fit_loop.state_dict()
    for part in ("total", "current"):
        _fill(state["epoch_progress"][part], counts["epochs"])
    _fill(state[_BATCHES]["total"], counts["batches"])
    _fill(state[_OPTIMIZER_STEPS]["optimizer"]["step"]["total"], counts["steps"])
    _fill(state[_MANUAL_STEPS]["total"], counts["steps"])
    state[_EPOCH_LOOP]["_batches_that_stepped"] = counts["logged"]
    trainer.fit_loop.load_state_dict(state)


def _fill(progress: dict[str, int], value: int) -> None:
    for key in progress:
        progress[key] = value
