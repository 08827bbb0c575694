"""Build the L.Trainer of a run, run it, and put everything back as the user had it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
import torch

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
    with _run(facade) as build:
        trainer = build(max_epochs=done.get("epochs", 0) + n_epoch)
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
    with _run(facade) as build:
        trainer = build()
        if facade.lightning_trainer is None:
            facade.lightning_trainer = trainer
        trainer.test(make_module(hooks), for_lightning(loader), verbose=False)


def _build(facade: Facade, **arguments: Any) -> L.Trainer:
    return L.Trainer(
        **accelerator_arguments(facade.device[facade.primary_device_index]),
        **arguments,
        plugins=[PlainPrecision()],
        profiler=NoProfiler(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # a sanity check would draw from the random number generator
        inference_mode=False,  # no_grad, as in zae-engine: outputs may be used for training later
    )


@contextmanager
def _run(facade: Facade) -> Iterator[Any]:
    """Run quietly; let interrupts and `StopIteration` surface as such; bring model and optimizer home."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main_thread else None
    grad_enabled = torch.is_grad_enabled()
    try:
        with quiet():
            yield lambda **arguments: _build(facade, **arguments)
    except SystemExit as error:
        # Lightning turns Ctrl-C into sys.exit(1), from within its handling of the KeyboardInterrupt.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except StepStopped as error:
        raise error.original from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored after a Ctrl-C
        torch.set_grad_enabled(grad_enabled)
        _bring_home(facade)


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
