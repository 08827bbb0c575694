"""Step notes: an exception in the user's step says where it came from, and what the batch was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .._protocol import TrainerProtocol
from ..utilities.batch_structure import batch_structure

_STARTS = ("in train_step", "in test_step", "in run_batch", "in predict_step")


def note_batch(error: Exception, trainer: TrainerProtocol, name: str, batch: Any, place: str | None = None) -> None:
    """Add a note to an exception, such as ``in train_step, epoch 2, batch 7: tuple of Tensor[32, 13] float64``.

    The exception has one such note at most, the innermost. The note is text alone: it keeps no tensor alive, and no
    tensor is read for it. Before Python 3.11, exceptions have no notes.

    Parameters
    ----------
    error : Exception
        What the step has raised.
    trainer : Trainer
        The trainer.
    name : str
        The user's method.
    batch : object
        The batch as the method receives it.
    place : str, optional
        The place after the name; by default that of the run, in words.
    """
    with suppress(Exception):  # an exception of the user's may refuse anything
        if hasattr(error, "add_note") and not any(note.startswith(_STARTS) for note in getattr(error, "__notes__", ())):
            run = trainer._zae_state.run
            display = run.active_display() if run.active_display is not None and run.depth else None
            if place is None:
                place = "" if display is None else f", {display.position()}"
            error.add_note(f"in {name}{place}: {batch_structure(batch)}")
