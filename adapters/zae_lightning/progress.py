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

from .protocol import TrainerProtocol

_OPTIMIZER_STEPS = "epoch_loop.automatic_optimization.optim_progress"
_MANUAL_STEPS = "epoch_loop.manual_optimization.optim_step_progress"
_BATCHES = "epoch_loop.batch_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"
_EPOCH_LOOP = "epoch_loop.state_dict"


def read_progress(lightning_trainer: L.Trainer) -> dict[str, int]:
    """Return what has been counted: finished epochs, batches, optimizer steps, and batches as loggers count them.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer whose ``fit`` is over, finished or broken off.

    Returns
    -------
    dict of str to int
        ``"epochs"``, ``"batches"``, ``"steps"`` and ``"logged"``.
    """
    state = lightning_trainer.fit_loop.state_dict()
    return {
        "epochs": state["epoch_progress"]["current"]["completed"],
        "batches": state[_BATCHES]["total"]["completed"],
        "steps": lightning_trainer.global_step,
        "logged": state[_EPOCH_LOOP]["_batches_that_stepped"],
    }


def current_progress(trainer: TrainerProtocol) -> dict[str, int]:
    """Return what has been counted up to now, in the midst of a run too.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.

    Returns
    -------
    dict of str to int
        As `read_progress`. An epoch whose end is being worked on counts.
    """
    lightning_trainer = trainer.lightning_trainer
    if lightning_trainer is None or not is_fitting(lightning_trainer):
        return dict(trainer._zae_state.records.lightning_progress)
    state = lightning_trainer.fit_loop.state_dict()
    epochs = state["epoch_progress"]["current"]
    is_ending = trainer._zae_state.run.epoch_summary is not None
    batches = state[_BATCHES]["total"]
    in_a_batch = batches["processed"] > batches["completed"]  # Lightning has not counted it for the loggers yet
    validated = is_ending and epochs["processed"] == epochs["completed"]
    return {
        **read_progress(lightning_trainer),
        "logged": state[_EPOCH_LOOP]["_batches_that_stepped"] + (in_a_batch or validated),
        "epochs": epochs["completed"] + 1 if is_ending else epochs["processed"],
        "batches": batches["processed"],
    }


def is_fitting(lightning_trainer: L.Trainer) -> bool:
    """Whether a trainer is in the midst of its ``fit``, and not in a validation that began it."""
    return lightning_trainer.state.status == TrainerStatus.RUNNING and lightning_trainer.state.fn == TrainerFn.FITTING


def count_step(lightning_trainer: L.Trainer) -> None:
    """Count an optimizer step that did not go through Lightning's wrapper.

    Private to Lightning, but nothing public counts a step; tests/zae_lightning/test_counts.py fails if it changes.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer with manual optimization.
    """
    progress = lightning_trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def restore_progress(
    lightning_trainer: L.Trainer, counts: Mapping[str, int], resumed: tuple[int, bool, bool] | None = None
) -> None:
    """Let a fresh lightning_trainer count on from ``counts``; nothing happens if they are empty.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer that has not run yet.
    counts : mapping of str to int
        What `read_progress` gave after the run before.
    resumed : tuple, optional
        How many batches of the next epoch are done, if it is gone on with in its middle; whether these were all; and
        whether the validation that may be due behind them is over.
    """
    if not counts.get("epochs") and not counts.get("steps") and resumed is None:
        return
    state = lightning_trainer.fit_loop.state_dict()
    for part in ("total", "current"):
        _fill(state["epoch_progress"][part], counts.get("epochs", 0))
    _fill(state[_BATCHES]["total"], counts.get("batches", 0))
    _fill(state[_OPTIMIZER_STEPS]["optimizer"]["step"]["total"], counts.get("steps", 0))
    _fill(state[_MANUAL_STEPS]["total"], counts.get("steps", 0))
    if resumed is not None:
        batches, is_over, has_validated = resumed
        for part in ("total", "current"):
            for key in ("ready", "started"):
                state["epoch_progress"][part][key] += 1
        _fill(state[_BATCHES]["current"], batches)
        state[_BATCHES]["is_last_batch"] = is_over
        if not has_validated:  # as if Lightning had been in the midst of it: then it runs it, if it is due
            state[_VALIDATION]["total"].update(ready=1, started=1)
    state[_EPOCH_LOOP]["_batches_that_stepped"] = counts.get("logged", 0)
    lightning_trainer.fit_loop.load_state_dict(state)


def _fill(progress: dict[str, int], value: int) -> None:
    for key in progress:
        progress[key] = value
