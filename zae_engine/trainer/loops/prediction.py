"""Prediction: ``predict_step`` on a batch, and what it receives of it."""

from __future__ import annotations

from typing import Any

import torch

from .._protocol import TrainerProtocol
from .step_notes import note_batch


def predict_batch(trainer: TrainerProtocol, batch: Any, number: int | None = None) -> Any:
    """Return what ``predict_step`` returns for a batch; an exception has a note with the batch, and its number."""
    batch = predict_input(trainer, batch)
    try:
        return trainer.predict_step(batch)
    except Exception as error:
        note_batch(error, trainer, "predict_step", batch, "" if number is None else f", batch {number}")
        raise


def predict_input(trainer: TrainerProtocol, batch: Any) -> Any:
    """Return a batch on the device as `Trainer.predict_step` receives it: as a step, but a tensor in one piece."""
    if isinstance(batch, torch.Tensor):
        return trainer._to_device(batch)
    if isinstance(batch, dict) and all(isinstance(key, str) for key in batch):
        return trainer._to_device(**batch)
    return trainer._to_device(*batch) if isinstance(batch, (tuple, list)) else trainer._to_device(batch)
