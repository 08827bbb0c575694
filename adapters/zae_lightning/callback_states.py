"""Callback states: collecting them for a trainer's files, and restoring them when the next run starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from .added_modules import added_weights, load_added_weights
from .base_module import BaseModule
from .foreign_lightning import is_instance
from .progress import is_fitting
from .protocol import TrainerProtocol

_MODEL_WEIGHTS = "the weights of the model"  # a value of the format on disk
_ADDED_WEIGHTS = "added_state_dict"  # a key of the format on disk
_CURRENT_WEIGHTS = "current_weights"  # a key of the format on disk


def callback_states(trainer: TrainerProtocol, current: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the entries of a checkpoint that callbacks write.

    During a run these are the entries that Lightning would write, averaged weights included. Otherwise these are the
    states that callbacks keep from run to run.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    current : mapping, optional
        The weights that training continues with, if the model's file holds others.

    Returns
    -------
    dict
        A checkpoint for `resume_callbacks`, with ``"callbacks"`` at least.
    """
    callbacks = [callback for callback in trainer.callbacks if is_instance(callback, Callback)]
    states = {callback.state_key: callback.state_dict() for callback in callbacks}
    checkpoint: dict[str, Any] = {"callbacks": {key: state for key, state in states.items() if state}}
    if current is not None:
        checkpoint[_CURRENT_WEIGHTS] = current
    lightning_trainer = trainer.lightning_trainer
    if lightning_trainer is None or not is_fitting(lightning_trainer):
        return checkpoint
    module = lightning_trainer.lightning_module
    weights = module.state_dict()
    checkpoint["state_dict"] = weights
    if added := added_weights(weights):
        checkpoint[_ADDED_WEIGHTS] = added
    for callback in callbacks:
        callback.on_save_checkpoint(lightning_trainer, module, checkpoint)
    return {key: _MODEL_WEIGHTS if value is weights else value for key, value in checkpoint.items()}


def resume_callbacks(lightning_trainer: L.Trainer, module: BaseModule, checkpoint: Mapping[str, Any]) -> None:
    """Restore the states of callbacks from a checkpoint, in Lightning's order.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer after its ``setup``.
    module : lightning.pytorch.LightningModule
        Its module, which has the weights of the checkpoint.
    checkpoint : mapping
        The result of `callback_states`, or a Lightning checkpoint.
    """
    if _CURRENT_WEIGHTS in checkpoint:  # the model's file holds those that were validated
        module.hooks.model.load_state_dict(checkpoint[_CURRENT_WEIGHTS])
    complete = {key: module.state_dict() if value == _MODEL_WEIGHTS else value for key, value in checkpoint.items()}
    states = complete.get("callbacks", {})
    current = checkpoint.get("current_model_state", checkpoint.get("state_dict"))
    if _ADDED_WEIGHTS in checkpoint:
        load_added_weights(module, checkpoint[_ADDED_WEIGHTS])
    elif isinstance(current, Mapping):
        load_added_weights(module, added_weights(current))
    if "state_dict" in complete:
        for callback in lightning_trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_load_checkpoint(lightning_trainer, module, complete)
    for callback in lightning_trainer.callbacks:  # type: ignore[attr-defined]
        if states.get(callback.state_key):
            callback.load_state_dict(states[callback.state_key])
