"""Progress: Lightning's counts of epochs and steps, continued from run to run.

Every run has a new ``L.Trainer``; its ``current_epoch`` and ``global_step`` continue those of the previous run. The
counts are set through ``fit_loop.load_state_dict``, as Lightning does when it resumes from a checkpoint. This way
Lightning does not call ``iter()`` on the loader a second time; a second call would draw from the random number
generator and change all following numbers.

The counts are read from the loops' attributes, since ``fit_loop.state_dict()`` asks the user's loader for its state.
The attributes are private to Lightning; tests/unit/zae_lightning/test_progress.py fails if they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus

from .protocol import TrainerProtocol

_OPTIMIZER_STEPS = "epoch_loop.automatic_optimization.optim_progress"
_MANUAL_STEPS = "epoch_loop.manual_optimization.optim_step_progress"
_BATCHES = "epoch_loop.batch_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"
_EPOCH_LOOP = "epoch_loop.state_dict"


def read_progress(lightning_trainer: L.Trainer) -> dict[str, int]:
    """Return the counts of a run: finished epochs, batches, optimizer steps, and batches that loggers count.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer whose ``fit`` has ended, normally or by an exception.

    Returns
    -------
    dict of str to int
        ``"epochs"``, ``"batches"``, ``"steps"`` and ``"logged"``.
    """
    fit_loop: Any = lightning_trainer.fit_loop
    return {
        "epochs": fit_loop.epoch_progress.current.completed,
        "batches": fit_loop.epoch_loop.batch_progress.total.completed,
        "steps": lightning_trainer.global_step,
        "logged": fit_loop.epoch_loop._batches_that_stepped,
    }


def updates_so_far(lightning_trainer: L.Trainer) -> int:
    """Return the number of batches with an update, which is the axis of Lightning's loggers."""
    return int(lightning_trainer.fit_loop.epoch_loop._batches_that_stepped)


def current_progress(trainer: TrainerProtocol) -> dict[str, int]:
    """Return the current counts, during a run too.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.

    Returns
    -------
    dict of str to int
        As `read_progress`. An epoch that is being finished is counted.
    """
    lightning_trainer = trainer.lightning_trainer
    if lightning_trainer is None or not is_fitting(lightning_trainer):
        return dict(trainer._zae_state.records.lightning_progress)
    fit_loop: Any = lightning_trainer.fit_loop
    epochs, batches = fit_loop.epoch_progress.current, fit_loop.epoch_loop.batch_progress.total
    is_ending = trainer._zae_state.run.epoch_summary is not None
    is_within_batch = batches.processed > batches.completed  # Lightning has not yet counted it for the loggers
    is_validated = is_ending and epochs.processed == epochs.completed
    progress = read_progress(lightning_trainer)
    return {
        **progress,
        "logged": progress["logged"] + (is_within_batch or is_validated),
        "epochs": epochs.completed + 1 if is_ending else epochs.processed,
        "batches": batches.processed,
    }


def is_fitting(lightning_trainer: L.Trainer) -> bool:
    """Whether a trainer runs ``fit``, its validation included."""
    return lightning_trainer.state.status == TrainerStatus.RUNNING and lightning_trainer.state.fn == TrainerFn.FITTING


def count_step(lightning_trainer: L.Trainer) -> None:
    """Count an optimizer step that bypassed Lightning's wrapper.

    No public function counts a step. The attributes are private to Lightning; tests/unit/zae_lightning/test_progress.py
    fails if they change.

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
    """Set the counts of a new ``L.Trainer``; empty counts change nothing.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer that has not run yet.
    counts : mapping of str to int
        The counts that `read_progress` returned after the previous run.
    resumed : tuple, optional
        For a run that resumes in the middle of an epoch: the number of finished batches, whether the epoch has no more,
        and whether the validation that is due after them is finished.
    """
    if not counts.get("epochs") and not counts.get("steps") and resumed is None:
        return
    state = lightning_trainer.fit_loop.state_dict()
    for scope in ("total", "current"):
        _fill(state["epoch_progress"][scope], counts.get("epochs", 0))
    _fill(state[_BATCHES]["total"], counts.get("batches", 0))
    _fill(state[_OPTIMIZER_STEPS]["optimizer"]["step"]["total"], counts.get("steps", 0))
    _fill(state[_MANUAL_STEPS]["total"], counts.get("steps", 0))
    if resumed is not None:
        batches, is_over, has_validated = resumed
        for scope in ("total", "current"):
            for key in ("ready", "started"):
                state["epoch_progress"][scope][key] += 1
        _fill(state[_BATCHES]["current"], batches)
        state[_BATCHES]["is_last_batch"] = is_over
        if not has_validated:  # a started validation: Lightning runs it, if it is due
            state[_VALIDATION]["total"].update(ready=1, started=1)
    state[_EPOCH_LOOP]["_batches_that_stepped"] = counts.get("logged", 0)
    lightning_trainer.fit_loop.load_state_dict(state)


def _fill(counts: dict[str, int], value: int) -> None:
    for key in counts:
        counts[key] = value
