"""Build the L.Trainer of a run, run it, and put everything back as the user had it."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import Logger

from . import counts
from .devices import accelerator_arguments
from .loaders import ExactLoader
from .module import make_module
from .precision import precision_for
from .profiler import NoProfiler
from .protocol import Facade, Hooks
from .quiet import quiet
from .surface import original_of


def fit(facade: Facade, hooks: Hooks, n_epoch: int, loader: Any, valid_loader: Any) -> None:
    """Train for some epochs more.

    Parameters
    ----------
    facade : Facade
        The user's trainer.
    hooks : Hooks
        What to call on the way.
    n_epoch : int
        Number of epochs.
    loader, valid_loader : iterable of batches
        The data; ``valid_loader`` may be None.
    """
    done = facade._zae_state.counts
    with _Surroundings(facade):
        trainer = build_trainer(facade, max_epochs=done.get("epochs", 0) + n_epoch)
        counts.carry_on(trainer, done)
        facade.lightning_trainer = trainer
        train, valid = ExactLoader(loader), ExactLoader(valid_loader) if valid_loader is not None else None
        try:
            trainer.fit(make_module(hooks, train, valid), train, valid)
        finally:
            train.close()
            if valid is not None:
                valid.close()
            facade._zae_state.counts = counts.read(trainer)


def test(facade: Facade, hooks: Hooks, loader: Any) -> None:
    """Run one test epoch.

    Parameters
    ----------
    facade : Facade
        The user's trainer.
    hooks : Hooks
        What to call on the way.
    loader : iterable of batches
        The data.
    """
    with _Surroundings(facade):
        trainer = build_trainer(facade)
        if facade.lightning_trainer is None:
            facade.lightning_trainer = trainer
        exact = ExactLoader(loader)
        try:
            trainer.test(make_module(hooks, exact), exact, verbose=False)
        finally:
            exact.close()


def build_trainer(facade: Facade, **arguments: Any) -> L.Trainer:
    """Return the ``L.Trainer`` of one run.

    Parameters
    ----------
    facade : Facade
        The user's trainer.
    **arguments
        Further arguments of ``L.Trainer``.

    Returns
    -------
    lightning.pytorch.Trainer
        On the trainer's device, with its callbacks and loggers; silent, and without checkpoints of its own.
    """
    if isinstance(facade.callbacks, list):  # else it is something of the user's own
        makers, facade._zae_state.callback_makers = facade._zae_state.callback_makers, []
        facade.callbacks += [make(facade) for make in makers]
    callbacks, loggers = _instances(facade.callbacks, Callback), _instances(facade.loggers, Logger)
    return L.Trainer(
        **accelerator_arguments(facade.device[facade.primary_device_index]),
        **arguments,
        # One process: under SLURM or torchrun too, where each task may run a trainer of its own.
        plugins=[precision_for(facade._zae_state.autocast), LightningEnvironment()],
        profiler=NoProfiler(),
        callbacks=callbacks,
        logger=loggers or False,
        # Lightning refuses checkpoint callbacks unless this is on, and adds one of its own unless it is off.
        enable_checkpointing=bool(_instances(callbacks, Checkpoint)),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # a sanity check would draw from the random number generator
        detect_anomaly=torch.is_anomaly_enabled(),
        inference_mode=False,  # no_grad, as in zae-engine: outputs may be used for training later
    )


def _instances(values: Any, kind: type) -> list[Any]:
    return [value for value in values if isinstance(value, kind)] if isinstance(values, list) else []


class _Surroundings:
    """While Lightning runs: quiet. Afterwards: everything back in its place, and the user's exceptions as they were."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def __enter__(self) -> None:
        self._stack = ExitStack()
        self._stack.callback(_bring_home, self._facade)
        self._stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        if threading.current_thread() is threading.main_thread():
            # Lightning leaves SIGINT ignored after a Ctrl-C.
            self._stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        self._stack.enter_context(quiet())

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()
        if (original := original_of(error)) is not None:
            raise original from None


def _bring_home(facade: Facade) -> None:
    """Move model and optimizer state back to the user's device; Lightning leaves them on the CPU."""
    device = facade.device[facade.primary_device_index]
    if device.type == "cpu":
        return
    facade.model.to(device)
    for state in getattr(facade.optimizer, "state", {}).values():
        for key, value in state.items():
            # Adam keeps its step count on the CPU: only what lives beside the parameters moves.
            if isinstance(value, torch.Tensor) and value.dim() > 0:
                state[key] = value.to(device)
