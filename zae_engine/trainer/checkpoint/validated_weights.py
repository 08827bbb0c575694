"""Validated weights: those that a validation has used, where callbacks or the optimizer use others for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._protocol import TrainerProtocol
from .pruning import without_pruning
from .weights import clone_state_dict


def keep_validated_weights(trainer: TrainerProtocol, is_best: bool) -> None:
    """Keep a copy of the weights at the end of a validation, if it is the best so far.

    Averages are swapped with the weights of training before `check_better` is called.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    is_best : bool
        Whether the validation is the best so far.
    """
    trainer._zae_state.run.validated_weights = without_pruning(clone_state_dict(trainer.model)) if is_best else None


def weights_of_epoch(trainer: TrainerProtocol) -> Mapping[str, Any]:
    """Return the weights that the latest validation of the epoch has used, or a copy of the present ones."""
    validated = trainer._zae_state.run.validated_weights
    return without_pruning(clone_state_dict(trainer.model)) if validated is None else validated


def weights_to_continue(trainer: TrainerProtocol) -> Mapping[str, Any] | None:
    """Return a copy of the weights that training continues with, if they are not the validated ones."""
    validated = trainer._zae_state.run.validated_weights
    if validated is None:
        return None
    current = without_pruning(clone_state_dict(trainer.model))
    return None if _are_equal(current, validated) else current


def _are_equal(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )
