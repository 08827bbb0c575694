"""Batch: the steps of one batch, in the order in which zae-engine runs them.

`Trainer.run_batch` calls them one after another. Lightning's automatic optimization calls them from its hooks, see
``adapters/zae_lightning/module.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .. import checks
from .._protocol import TrainerProtocol
from ..data.batch_size import batch_size_of, checked_size
from ..logs.reductions import BATCH_SIZE
from ..optim import (
    clip_gradients,
    is_torch_optimizer,
    learning_rate,
    monitored_quantity,
    set_optimizer_mode,
    step_scheduler,
)
from ..overrides import is_overridden
from .step_notes import note_batch

_PLAIN = (list, tuple)


def to_device(trainer: TrainerProtocol, batch: Any) -> Any:
    """Return the batch as the steps receive it: a plain dict, a plain tuple, or a single element, on the device.

    A bare tensor becomes the tuple of its rows, because 0.7.6 unpacks every batch that is no dict. An object that 0.7.6
    cannot unpack into tensors is handed through whole; see `is_whole`.
    """
    note_size(trainer, batch)
    if type(batch) in _PLAIN:  # without the checks of abstract classes, which take a microsecond
        return trainer._to_device(*batch)
    if isinstance(batch, Mapping):
        if all(isinstance(key, str) for key in batch):
            return trainer._to_device(**batch) if batch else {}
        return {key: trainer._to_device(value) for key, value in batch.items()}
    if is_whole(batch):
        return trainer._to_device(batch)
    try:
        return trainer._to_device(*batch)
    except TypeError as error:
        if hasattr(batch, "__iter__") or hasattr(batch, "__getitem__"):
            raise
        raise TypeError(
            f"A batch of type {type(batch).__name__} cannot be unpacked; a dict, a sequence or a tensor is needed."
        ) from error


def note_size(trainer: TrainerProtocol, batch: Any) -> None:
    """Note the number of samples in a batch, if the means of epochs are means over samples."""
    state = trainer._zae_state
    if state.config.epoch_means == "batches":
        return
    state.batch.size, is_ambiguous = batch_size_of(batch)
    if is_ambiguous and not state.records.warned_batch_size:
        state.records.warned_batch_size = True
        warnings.warn(
            f'The tensors of a batch differ in length, so epoch_means="samples" counts it as {state.batch.size} '
            f'samples, the length of the first. Return the right number from the steps: {{"loss": ..., "batch_size": '
            f"n}}.",
            stacklevel=2,
        )


def logged_size(trainer: TrainerProtocol, step_dict: Mapping[str, Any]) -> Any:
    """Return the number of samples that a step counts as in the means of its epoch; None for means over batches.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    step_dict : mapping
        What the step returned. A ``"batch_size"`` in it counts in place of the size of the batch.

    Raises
    ------
    ValueError
        If the number is not known, or negative.
    TypeError
        If it is not a number.
    """
    state = trainer._zae_state
    if state.config.epoch_means == "batches":
        return None
    size = dict(step_dict).get(BATCH_SIZE, state.batch.size)
    if size is None and state.run.depth:
        raise ValueError(
            'epoch_means="samples" needs the number of samples of each batch, but this batch has no tensor that tells '
            'it. Return it from the steps: {"loss": ..., "batch_size": n}.'
        )
    state.batch.logged_size = checked_size(size)
    return state.batch.logged_size


def is_whole(batch: Any) -> bool:
    """Whether a batch is one object, as torch_geometric's are, and no collection of tensors.

    It is a dataclass that cannot be iterated, or it has a method ``to`` and iterates into something else than tensors,
    such as pairs of names and values.
    """
    kind = type(batch)
    if isinstance(batch, (torch.Tensor, Sequence, Iterator)):
        return False
    if not hasattr(kind, "to"):
        return is_dataclass(batch) and not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__"))
    try:
        return not all(isinstance(part, torch.Tensor) for part in batch)
    except Exception:  # it cannot be iterated
        return True


def call_train_step(trainer: TrainerProtocol, batch: Any, zero_grad: bool = True) -> Mapping[str, Any]:
    """Clear the gradients, run ``train_step`` on a moved batch, and return its checked result."""
    _set_mode(trainer, "train")
    if not trainer._zae_state.run.depth:  # otherwise the phase has done so
        set_optimizer_mode(trainer.optimizer, "train")
    if zero_grad:
        trainer.optimizer.zero_grad()
    try:
        output = trainer.train_step(batch)
    except Exception as error:
        note_batch(error, trainer, "train_step", batch)
        raise
    return checks.train_output(output)


def call_test_step(trainer: TrainerProtocol, batch: Any) -> Any:
    """Run ``test_step`` on a moved batch, in eval mode and without gradients."""
    _set_mode(trainer, "test")
    with torch.no_grad():
        try:
            output = trainer.test_step(batch)
        except Exception as error:
            note_batch(error, trainer, "test_step", batch)
            raise
    if not is_overridden(trainer, "logging"):  # an override may accept anything
        output = checks.step_output(output, "test_step")
    return output


def _set_mode(trainer: TrainerProtocol, mode: str) -> None:
    """Set the mode of the whole model, as 0.7.6 does; of what callbacks have not set, where these may do so."""
    modes = trainer._zae_state.run.modes
    if modes is not None:
        modes.set_mode(trainer.model, mode)
    else:
        trainer.model.train() if mode == "train" else trainer.model.eval()  # a model may override either


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


def log_step(
    trainer: TrainerProtocol, step_dict: Mapping[str, Any], kwargs: Mapping[str, Any], steps_scheduler: bool = True
) -> None:
    """Do what follows the optimizer's step: step a per-batch scheduler, log the step, count it."""
    state = trainer._zae_state
    state.process.interrupts.defer()
    if steps_scheduler and trainer.mode == "train" and trainer.scheduler_step_on_batch:
        state.batch.update_lr = learning_rate(trainer.optimizer)
        quantity = monitored_quantity(trainer.scheduler, step_dict["loss"], step_dict)
        step_scheduler(trainer.scheduler, _loss_of_all_ranks(trainer, quantity), kwargs)
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
    gathered = world.gather_shares((float(loss), share.weight if share is not None else 1.0))
    return sum(value * weight for value, weight in gathered if weight) / sum(weight for _, weight in gathered)
