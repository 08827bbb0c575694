"""Phase warnings: an epoch that has computed nothing of use says so, once for each trainer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from .._protocol import TrainerProtocol
from .._state import RunDisplay
from ..distributed.world import is_rank_zero
from ..logs.epoch_log import log_of, peek

_NAMES = {"train": "training", "test": "test"}


def warn_of_phase(trainer: TrainerProtocol, display: RunDisplay, loader: Any, results: Mapping[str, float]) -> None:
    """Warn if a phase had no batches other than ``None``, or if no step of it has a finite loss.

    Parameters
    ----------
    trainer : Trainer
        The trainer, in the mode of the phase.
    display : RunDisplay
        What has counted the batches.
    loader : iterable of batches
        The loader of the phase.
    results : mapping of str to float
        The results of the phase.
    """
    records = trainer._zae_state.records
    if not is_rank_zero(trainer._zae_state.process.world):
        return
    if not records.warned_empty_epoch and display.has_no_batches() and not peek(log_of(trainer)):
        records.warned_empty_epoch = True
        _warn_of_no_batches(trainer.mode, loader)
    loss = results.get(f"{trainer.mode}_loss", 0.0)
    if not records.warned_not_finite and not math.isfinite(loss) and not _has_finite_loss(trainer):
        records.warned_not_finite = True
        _warn_of_loss(trainer.mode, display.epoch)


def _has_finite_loss(trainer: TrainerProtocol) -> bool:
    losses = peek(log_of(trainer))["loss"]
    stacked = losses.stacked()
    values = losses.read_from(0) if stacked is None else [stacked]
    return any(bool(torch.isfinite(torch.as_tensor(value)).any()) for value in values)


def _warn_of_no_batches(mode: str, loader: Any) -> None:
    warnings.warn(
        f"A {_NAMES[mode]} epoch had no batches: the loader ({type(loader).__name__}) gives none. Is it an iterator "
        f"that an earlier epoch has used up, a DataLoader with drop_last=True and fewer samples than a batch, or one "
        f"whose batches are all None?",
        stacklevel=2,
    )


def _warn_of_loss(mode: str, epoch: int) -> None:
    hint = (
        'Look for such values in the data, lower the learning rate, or set gradient_clip; lightning={"detect_anomaly": '
        "True} names the operation that has made them."
    )
    warnings.warn(
        f"The {_NAMES[mode]} loss was nan or infinite in every step of epoch {epoch}. {hint}",
        stacklevel=2,
    )
