"""Batch: the steps of one batch, in the order in which zae-engine runs them.

`Trainer.run_batch` calls them one after another. Lightning's automatic optimization calls them from its hooks, see
``adapters/zae_lightning/module.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .. import checks
from .._protocol import TrainerProtocol
from ..optim import clip_gradients, is_torch_optimizer, learning_rate, step_scheduler
from ..overrides import is_overridden


def to_device(trainer: TrainerProtocol, batch: Any) -> Any:
    """Return the batch as the steps receive it: a plain dict, a plain tuple, or a single element, on the device.

    A bare tensor becomes the tuple of its rows, because 0.7.6 unpacks every batch that is no dict.
    """
    if isinstance(batch, Mapping):
        if all(isinstance(key, str) for key in batch):
            return trainer._to_device(**batch) if batch else {}
        return {key: trainer._to_device(value) for key, value in batch.items()}
    try:
        return trainer._to_device(*batch)
    except TypeError as error:
        if hasattr(batch, "__iter__") or hasattr(batch, "__getitem__"):
            raise
        raise TypeError(
            f"A batch of type {type(batch).__name__} cannot be unpacked; a dict, a sequence or a tensor is needed."
        ) from error


def train_forward(trainer: TrainerProtocol, batch: Any, zero_grad: bool = True) -> Mapping[str, Any]:
    """Clear the gradients, run ``train_step`` on a moved batch, and return its checked result."""
    trainer.model.train()
    if zero_grad:
        trainer.optimizer.zero_grad()
    return checks.train_output(trainer.train_step(batch))


def test_forward(trainer: TrainerProtocol, batch: Any) -> Any:
    """Run ``test_step`` on a moved batch, in eval mode and without gradients."""
    trainer.model.eval()
    with torch.no_grad():
        output = trainer.test_step(batch)
    if not is_overridden(trainer, "logging"):  # an override may accept anything
        output = checks.step_output(output, "test_step")
    return output


def update(trainer: TrainerProtocol, loss: Any) -> None:
    """Compute and clip the gradients of the loss, and step the optimizer; through Lightning while it runs the batch."""
    batch, interrupts = trainer._zae_state.batch, trainer._zae_state.process.interrupts
    scaler = trainer._zae_state.config.precision.scaler
    if batch.backward is not None:
        batch.backward(loss)
        interrupts.defer()
        if batch.optimizer_step is not None and is_torch_optimizer(trainer.optimizer):
            batch.clip_due = True  # Lightning unscales the gradients first, within the step
            batch.optimizer_step()
        else:
            clip_gradients(trainer.model, trainer.gradient_clip)
            trainer.optimizer.step()
    elif scaler is not None:
        scaler.scale(loss).backward()
        interrupts.defer()
        scaler.unscale_(trainer.optimizer)
        clip_gradients(trainer.model, trainer.gradient_clip)
        scaler.step(trainer.optimizer)
        scaler.update()
    else:
        loss.backward()
        interrupts.defer()
        clip_gradients(trainer.model, trainer.gradient_clip)
        trainer.optimizer.step()


def log_step(trainer: TrainerProtocol, step_dict: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Do what follows the optimizer's step: step a per-batch scheduler, log the step, count it."""
    state = trainer._zae_state
    state.process.interrupts.defer()
    if trainer.mode == "train" and trainer.scheduler_step_on_batch:
        state.batch.update_lr = learning_rate(trainer.optimizer)
        step_scheduler(trainer.scheduler, _loss_of_all_ranks(trainer, step_dict["loss"]), kwargs)
    trainer.logging(step_dict)
    state.batch.update_lr = None
    trainer.progress_checker.update_step()
    state.process.interrupts.resume()


def _loss_of_all_ranks(trainer: TrainerProtocol, loss: Any) -> Any:
    """Return the loss of a step over all ranks, where a scheduler reads it."""
    world = trainer._zae_state.process.world
    if world is None or not isinstance(trainer.scheduler, ReduceLROnPlateau):
        return loss
    share = world.log_tracker.share
    gathered = world.gather((float(loss), share.weight if share is not None else 1.0))
    return sum(value * weight for value, weight in gathered if weight) / sum(weight for _, weight in gathered)
