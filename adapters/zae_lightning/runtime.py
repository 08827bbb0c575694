"""Build the L.Trainer of a run, run it, and put everything back as the user had it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import Precision

from . import counts
from .batch_module import make_module
from .callbacks import BarValues, EpochBooks
from .devices import placement_arguments
from .lean import LeanTrainer
from .loaders import ExactLoader
from .loggers.guard import guarded
from .moving import move
from .precision import precision_for
from .processes import adopt, run_in_processes
from .processes.anchors import anchors_of
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
        facade.lightning_trainer = trainer
        if trainer.limit_val_batches == 0:
            hooks.valid_loader = valid_loader = None
        hides = bool(facade._zae_state.lightning.get("overfit_batches"))  # its loaders are in order already
        train, valid = (None if part is None else ExactLoader(part, hides) for part in (loader, valid_loader))
        underway = hooks.resumes()
        counts.carry_on(trainer, done, underway)
        if underway is not None and train is not None:
            train.pass_over(*underway[:2])
        module = make_module(hooks, train, valid)
        tunes_batch_size = bool(_instances(facade.callbacks, BatchSizeFinder))
        try:
            if tunes_batch_size:  # which asks the module for loaders again and again
                trainer.fit(module, None, valid if valid is not None else [])
            else:
                trainer.fit(module, train, valid)
        finally:
            for part in (module._loader, valid):
                if part is not None:
                    part.close()
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


def launch(
    facade: Facade, worlds: list[Any], screen: Any, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Call a function with the trainer in several processes; afterwards this trainer is what rank 0's has become.

    Parameters
    ----------
    facade : Facade
        The user's trainer.
    worlds : list of World
        The place of each rank.
    screen : Screen
        What rank 0 draws on, in this process.
    function : callable
        Called with the trainer and the arguments that follow.
    *args, **kwargs
        The arguments, loaders among them.

    Raises
    ------
    TypeError
        If something cannot be sent to another process; the message names it.
    ProcessFailed
        If a process is killed, or ends by itself.
    Exception
        What is raised in a process first, as it was raised there.
    """
    anchors = anchors_of(facade, args)
    with quiet():
        outcome = run_in_processes(facade, worlds, screen, function, args, kwargs)
        if outcome.home is not None:
            metrics = adopt(facade, anchors, outcome.home)
            trainer = build_trainer(facade, world=worlds[0])
            counts.carry_on(trainer, facade._zae_state.counts)
            trainer.callback_metrics.update(metrics)
            facade.lightning_trainer = trainer
            if (parameter := next(facade.model.parameters(), None)) is not None:
                move(facade, parameter.device)
    if outcome.failure is not None:
        raise outcome.failure


def build_trainer(facade: Facade, *, world: Any = None, **arguments: Any) -> L.Trainer:
    """Return the ``L.Trainer`` of one run.

    Parameters
    ----------
    facade : Facade
        The user's trainer.
    world : World, optional
        The processes that train together; by default those of the trainer.
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
    state = facade._zae_state
    given: dict[str, Any] = {
        **_defaults(state.lightning),
        # Lightning refuses checkpoint callbacks unless this is on, and adds one of its own unless it is off.
        "enable_checkpointing": bool(_instances(callbacks, Checkpoint)),
        **state.lightning,
    }
    place = placement_arguments(
        facade.device, facade.primary_device_index, world or state.world, given.pop("strategy", facade._zae_strategy)
    )
    plugins = [*place.pop("plugins"), *_listed(given.pop("plugins", None))]
    if "precision" not in given and not _instances(plugins, Precision):
        plugins.append(precision_for(state.autocast))
    return LeanTrainer(
        **{**given, **place, **arguments},
        plugins=plugins,
        callbacks=[*_own_callbacks(callbacks, given), *callbacks],
        logger=loggers or False,
    )


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``L.Trainer`` that are otherwise than Lightning's defaults, unless they are given."""
    defaults: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,  # a sanity check would draw from the random number generator
        "inference_mode": False,  # no_grad, as in zae-engine: outputs may be used for training later
    }
    if not given.get("barebones"):  # which takes no profiler and no anomaly detection
        defaults |= {"profiler": NoProfiler(), "detect_anomaly": torch.is_anomaly_enabled()}
    return defaults


def _own_callbacks(others: list[Any], given: Mapping[str, Any]) -> list[Callback]:
    """Return the callbacks that others need before them."""
    if given["enable_progress_bar"] or _instances(others, ProgressBar):
        return [EpochBooks(), BarValues()]
    return [EpochBooks()] if others else []


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


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
        loggers = _instances(self._facade.loggers, Logger)
        self._stack.enter_context(guarded(loggers, self._facade._zae_state.feed.tell_of_failure))

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()
        if (original := original_of(error)) is not None:
            raise original from None


def _bring_home(facade: Facade) -> None:
    """Move model and optimizer state back to the user's device; Lightning leaves them on the CPU."""
    device = facade.device[facade.primary_device_index]
    if device.type != "cpu":
        move(facade, device)
