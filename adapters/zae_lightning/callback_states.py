"""The states of Lightning's callbacks: into a trainer's own files, and back when its next run begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from .progress import is_fitting
from .protocol import TrainerProtocol

_PRESENT = "the weights of the model"


def callback_states(trainer: TrainerProtocol) -> dict[str, Any]:
    """Return what callbacks write into a checkpoint.

    In the midst of a run that is what Lightning would write, averaged weights included. Otherwise it is only what each
    callback keeps from run to run.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.

    Returns
    -------
    dict
        A checkpoint for `resume_callbacks`, with ``"callbacks"`` at least.
    """
    callbacks = [callback for callback in trainer.callbacks if isinstance(callback, Callback)]
    states = {callback.state_key: callback.state_dict() for callback in callbacks}
    checkpoint: dict[str, Any] = {"callbacks": {key: state for key, state in states.items() if state}}
    lightning_trainer = trainer.lightning_trainer
    if lightning_trainer is None or not is_fitting(lightning_trainer):
        return checkpoint
    module = lightning_trainer.lightning_module
    present = module.state_dict()
    checkpoint["state_dict"] = present
    for callback in callbacks:
        callback.on_save_checkpoint(lightning_trainer, module, checkpoint)
    return {key: _PRESENT if value is present else value for key, value in checkpoint.items()}


def resume_callbacks(lightning_trainer: L.Trainer, module: L.LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Give callbacks what they wrote into a checkpoint, in the order in which Lightning does.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer whose ``setup`` is over.
    module : lightning.pytorch.LightningModule
        Its module, with the weights of the checkpoint.
    checkpoint : mapping
        What `callback_states` returned, or a checkpoint of Lightning's.
    """
    whole = {key: module.state_dict() if value == _PRESENT else value for key, value in checkpoint.items()}
    states = whole.get("callbacks", {})
    if "state_dict" in whole:
        for callback in lightning_trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_load_checkpoint(lightning_trainer, module, whole)
    for callback in lightning_trainer.callbacks:  # type: ignore[attr-defined]
        if states.get(callback.state_key):
            callback.load_state_dict(states[callback.state_key])
