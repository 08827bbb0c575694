"""Carrying Lightning's counts of epochs and steps from one run to the next.

Every run has a fresh ``L.Trainer``, but its ``current_epoch`` and ``global_step`` shall go on. They are set in the way
in which Lightning itself resumes from a checkpoint, through ``fit_loop.load_state_dict``; this has the side effect that
is needed here, that Lightning does not call ``iter()`` on the loader a second time, which would draw from the random
number generator and change every number after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as L
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus

from .protocol import Facade

_OPTIMIZER_STEPS = "epoch_loop.automatic_optimization.optim_progress"
_MANUAL_STEPS = "epoch_loop.manual_optimization.optim_step_progress"
_BATCHES = "epoch_loop.batch_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"
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


def now(facade: Facade) -> dict[str, int]:
    """Return what has been counted up to now, in the midst of a run too.

    Parameters
    ----------
    facade : Facade
        The user's trainer.

    Returns
    -------
    dict of str to int
        As `read`. An epoch whose end is being worked on counts.
    """
    trainer = facade.lightning_trainer
    if trainer is None or not is_fitting(trainer):
        return dict(facade._zae_state.counts)
    state = trainer.fit_loop.state_dict()
    epochs = state["epoch_progress"]["current"]
    is_ending = facade._zae_state.ending is not None
    batches = state[_BATCHES]["total"]
    in_a_batch = batches["processed"] > batches["completed"]  # Lightning has not counted it for the loggers yet
    validated = is_ending and epochs["processed"] == epochs["completed"]
    return {
        **read(trainer),
        "logged": state[_EPOCH_LOOP]["_batches_that_stepped"] + (in_a_batch or validated),
        "epochs": epochs["completed"] + 1 if is_ending else epochs["processed"],
        "batches": batches["processed"],
    }


def is_fitting(trainer: L.Trainer) -> bool:
    """Whether a trainer is in the midst of its ``fit``, and not in a validation that began it."""
    return trainer.state.status == TrainerStatus.RUNNING and trainer.state.fn == TrainerFn.FITTING


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


def carry_on(trainer: L.Trainer, counts: Mapping[str, int], underway: tuple[int, bool, bool] | None = None) -> None:
    """Let a fresh trainer count on from ``counts``; nothing happens if they are empty.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        A trainer that has not run yet.
    counts : mapping of str to int
        What `read` gave after the run before.
    underway : tuple, optional
        How many batches of the next epoch are done, if it is gone on with in its middle; whether these were all; and
        whether the validation that may be due behind them is over.
    """
    if not counts.get("epochs") and not counts.get("steps") and underway is None:
        return
    state = trainer.fit_loop.state_dict()
    for part in ("total", "current"):
        _fill(state["epoch_progress"][part], counts.get("epochs", 0))
    _fill(state[_BATCHES]["total"], counts.get("batches", 0))
    _fill(state[_OPTIMIZER_STEPS]["optimizer"]["step"]["total"], counts.get("steps", 0))
    _fill(state[_MANUAL_STEPS]["total"], counts.get("steps", 0))
    if underway is not None:
        batches, is_over, has_validated = underway
        for part in ("total", "current"):
            for key in ("ready", "started"):
                state["epoch_progress"][part][key] += 1
        _fill(state[_BATCHES]["current"], batches)
        state[_BATCHES]["is_last_batch"] = is_over
        if not has_validated:  # as if Lightning had been in the midst of it: then it runs it, if it is due
            state[_VALIDATION]["total"].update(ready=1, started=1)
    state[_EPOCH_LOOP]["_batches_that_stepped"] = counts.get("logged", 0)
    trainer.fit_loop.load_state_dict(state)


def _fill(progress: dict[str, int], value: int) -> None:
    for key in progress:
        progress[key] = value
