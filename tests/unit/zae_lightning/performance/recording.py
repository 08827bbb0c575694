"""Recording: what a callback sees at every hook of a batch, with Lightning's counts there."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name.startswith("on_")]


def _values(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone().tolist(), value.requires_grad
    if isinstance(value, dict):
        return {key: _values(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_values(part) for part in value]
    return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__


class Recorder(Callback):
    """Notes each hook, its arguments, and the counts, metrics and gradients that are there at that moment."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def note(self, hook: str, trainer: Any, module: Any, *args: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        counts = [
            loop.batch_progress.state_dict(),
            loop.automatic_optimization.optim_progress.state_dict(),
            loop.manual_optimization.optim_step_progress.state_dict(),
            loop.scheduler_progress.state_dict(),
            loop.val_loop.batch_progress.state_dict(),
            trainer.test_loop.batch_progress.state_dict(),
            loop._batches_that_stepped,
            trainer.global_step,
            trainer.current_epoch,
            trainer.is_last_batch,
            trainer._logger_connector._first_loop_iter,
            loop.val_loop._has_run,
        ]
        state = (module._current_fx_name, trainer.state.stage.value if trainer.state.stage else None, module.training)
        gradients = [None if p.grad is None else p.grad.tolist() for p in module.parameters()]
        logged = _values(dict(trainer.callback_metrics))
        self.events.append((hook, _values(list(args)), counts, state, gradients, logged))


def _hook(name: str) -> Any:
    def hook(self: Recorder, trainer: Any, module: Any, *args: Any) -> None:
        self.note(name, trainer, module, *args)

    return hook


def recorder(*hooks: str) -> Recorder:
    """Return a callback that implements some hooks, by default all."""
    return type("Recorder", (Recorder,), {name: _hook(name) for name in hooks or HOOKS})()
