"""Step log: what a step returned goes to the epoch's log, the metrics, the history and the loggers."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from .._protocol import TrainerProtocol
from ..logs.epoch_log import EpochLog, log_of
from ..logs.epoch_metrics import is_metric, tensors_of
from ..logs.value_buffer import detach_copy, on_cpu
from ..overrides import is_overridden
from .batch import logged_size
from .loggers import log_train_step


def log(trainer: TrainerProtocol, step_dict: dict[str, Any]) -> None:
    """Append what a step returned to the log of the trainer's mode; see `Trainer.logging`."""
    mode = checks.mode(trainer.mode)
    log, state, size = log_of(trainer, mode), trainer._zae_state, logged_size(trainer, step_dict)
    tracker = state.process.world.log_tracker if state.process.world is not None else None
    if state.records.metrics:
        _update_metrics(trainer, step_dict)
    convert = trainer._to_cpu if is_overridden(trainer, "_to_cpu") else detach_copy
    kept = {}
    for key, value in step_dict.items():
        if type(value) is torch.Tensor or not is_metric(value):
            kept[key] = convert(value)
        else:
            state.records.metrics.add_step_metric(mode, key, value)
    for key, value in kept.items():
        if isinstance(log, EpochLog):
            log.add(key, value, size)
        else:  # the user has replaced the log
            log[key].append(on_cpu(value))
        if tracker is not None:
            tracker.record(key, size)
    if "loss" in kept:
        state.records.history.losses[mode].append(kept["loss"])
    if mode == "train":
        log_train_step(trainer, kept)


def _update_metrics(trainer: TrainerProtocol, step_dict: dict[str, Any]) -> None:
    world, metrics = trainer._zae_state.process.world, trainer._zae_state.records.metrics
    share = world.log_tracker.share if world is not None else None
    if share is not None and not share.weight:  # this rank repeats a batch only to stay in step with the others
        return
    inputs = trainer.metric_inputs(step_dict)
    if inputs is not None:
        tensors = [value for value in tensors_of(inputs) if isinstance(value, torch.Tensor)]
        with torch.no_grad():
            metrics.update(trainer.mode, inputs, tensors[0].device if tensors else torch.device("cpu"))
