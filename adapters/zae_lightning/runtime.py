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

from . import counts
from .devices import accelerator_arguments
from .loaders import for_lightning
from .module import StepStopped, make_module
from .precision import PlainPrecision
from .profiler import NoProfiler
from .protocol import Facade, Hooks
from .quiet import quiet


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
        try:
            trainer.fit(make_module(hooks), for_lightning(loader), for_lightning(valid_loader))
        finally:
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
        trainer.test(make_module(hooks), for_lightning(loader), verbose=False)


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
        On the trainer's device; silent, without logger and checkpoints.
    """
    return L.Trainer(
        **accelerator_arguments(facade.device[facade.primary_device_index]),
        **arguments,
        # One process: under SLURM or torchrun too, where each task may run a trainer of its own.
        plugins=[PlainPrecision(), LightningEnvironment()],
        profiler=NoProfiler(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # a sanity check would draw from the random number generator
        inference_mode=False,  # no_grad, as in zae-engine: outputs may be used for training later
    )


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
        if isinstance(error, StepStopped):
            raise error.original from None
        if isinstance(error, SystemExit) and _is_lightnings(error):
            raise KeyboardInterrupt from None


def _is_lightnings(error: SystemExit) -> bool:
    """Whether this is the ``sys.exit(1)`` that Lightning makes of a Ctrl-C, and not one of the user's."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    module = innermost.tb_frame.f_globals.get("__name__", "") if innermost is not None else ""
    return isinstance(error.__context__, KeyboardInterrupt) and module.startswith("lightning.")


def _bring_home(facade: Facade) -> None:
    """Move model and optimizer state back to the user's device; Lightning leaves them on the CPU."""
    device = facade.device[facade.primary_device_index]
    if device.type == "cpu":
        return
    facade.model.to(device)
    if facade.optimizer is not None:
        for state in facade.optimizer.state.values():
            for key, value in state.items():
                # Adam keeps its step count on the CPU: only what lives beside the parameters moves.
                if isinstance(value, torch.Tensor) and value.dim() > 0:
                    state[key] = value.to(device)
