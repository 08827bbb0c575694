"""The pieces of one batch, in the order in which zae-engine runs them.

`Trainer.run_batch` strings them together; Lightning's automatic optimization calls them one by one (see
``adapters/zae_lightning/module.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from . import checks
from .means import learning_rate
from .overrides import is_overridden

if TYPE_CHECKING:
    from ._trainer import Trainer


def to_device(trainer: Trainer, batch: Any) -> Any:
    """Return the batch as the steps receive it: a plain dict, a plain tuple, or a single element, on the device.

    A bare tensor comes out as the tuple of its rows, because 0.7.6 unpacks every batch that is no dict.
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


def train_forward(trainer: Trainer, batch: Any, zero_grad: bool = True) -> Mapping[str, Any]:
    """Run ``train_step`` on a moved batch and return its checked result; the gradients are cleared before."""
    trainer.model.train()
    if zero_grad:
        trainer.optimizer.zero_grad()
    return checks.train_output(trainer.train_step(batch))


def test_forward(trainer: Trainer, batch: Any) -> Any:
    """Run ``test_step`` on a moved batch, in eval mode and without gradients."""
    trainer.model.eval()
    with torch.no_grad():
        output = trainer.test_step(batch)
    if not is_overridden(trainer, "logging"):  # which may take what it likes
        output = checks.step_output(output, "test_step")
    return output


def clip_gradients(trainer: Trainer) -> None:
    """Clip the gradients of the model by their norm, if the trainer has a ``gradient_clip``."""
    if trainer.gradient_clip:
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.gradient_clip)


def update(trainer: Trainer, loss: Any) -> None:
    """Go back from the loss, clip, and step the optimizer; through Lightning while it runs the batch."""
    state = trainer._zae_state
    scaler = state.autocast.scaler
    if state.backward is not None:
        state.backward(loss)
        state.interrupts.hold()
        if state.optimizer_step is not None and checks.is_torch_optimizer(trainer.optimizer):
            state.clip_due = True  # Lightning unscales the gradients first, within the step
            state.optimizer_step()
        else:
            clip_gradients(trainer)
            trainer.optimizer.step()
    elif scaler is not None:
        scaler.scale(loss).backward()
        state.interrupts.hold()
        scaler.unscale_(trainer.optimizer)
        clip_gradients(trainer)
        scaler.step(trainer.optimizer)
        scaler.update()
    else:
        loss.backward()
        state.interrupts.hold()
        clip_gradients(trainer)
        trainer.optimizer.step()


def finish(trainer: Trainer, step_dict: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Do what follows the optimizer's step: the scheduler if it goes by batches, the log, the step count."""
    state = trainer._zae_state
    state.interrupts.hold()
    if trainer.mode == "train" and trainer.scheduler_step_on_batch:
        state.rate = learning_rate(trainer.optimizer)
        step_scheduler(trainer, _loss_of_all(trainer, step_dict["loss"]), kwargs)
    trainer.logging(step_dict)  # type: ignore[arg-type]
    state.rate = None
    trainer.progress_checker.update_step()
    state.interrupts.release()


def _loss_of_all(trainer: Trainer, loss: Any) -> Any:
    """Return the loss of a step over all ranks, where a scheduler looks at it."""
    world = trainer._zae_state.world
    if world is None or not isinstance(trainer.scheduler, ReduceLROnPlateau):
        return loss
    weight = world.ledger.share.weight if world.ledger.share is not None else 1.0
    told = world.gather((float(loss), weight))
    return sum(value * weight for value, weight in told if weight) / sum(weight for _, weight in told)


def step_scheduler(trainer: Trainer, loss: Any, kwargs: Mapping[str, Any]) -> None:
    """Step the scheduler, if there is one; ``ReduceLROnPlateau`` is given the loss, and left alone without (None)."""
    if trainer.scheduler is None:
        return
    if isinstance(trainer.scheduler, ReduceLROnPlateau):
        if loss is None:
            return
        trainer.scheduler.step(float(loss.detach() if isinstance(loss, torch.Tensor) else loss), **kwargs)
    else:
        trainer.scheduler.step(**kwargs)
