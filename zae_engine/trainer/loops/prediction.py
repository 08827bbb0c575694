"""Prediction: what ``predict_step`` receives of a batch."""

from __future__ import annotations

from typing import Any

import torch

from .._protocol import TrainerProtocol


def predict_input(trainer: TrainerProtocol, batch: Any) -> Any:
    """Return a batch on the device as `Trainer.predict_step` receives it: as a step, but a tensor in one piece."""
    if isinstance(batch, torch.Tensor):
        return trainer._to_device(batch)
    if isinstance(batch, dict) and all(isinstance(key, str) for key in batch):
        return trainer._to_device(**batch)
    return trainer._to_device(*batch) if isinstance(batch, (tuple, list)) else trainer._to_device(batch)
