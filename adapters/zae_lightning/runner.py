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

from .callbacks import EpochResultsCallback, ProgressBarMetrics
from .dataloader import DataLoaderWrapper
from .device_transfer import move_to_device
from .exceptions import unwrap_user_exception
from .launchers.launcher import run_in_processes
from .launchers.object_paths import named_objects
from .launchers.results import apply_results
from .loggers.error_guard import suppress_logger_errors
from .manual_module import make_module
from .performance.precision import precision_for
from .performance.profiler import NullProfiler
from .performance.trainer import FastTrainer
from .progress import read_progress, restore_progress
from .protocol import Hooks, TrainerProtocol
from .strategies import placement_arguments
from .warnings_filter import suppress_lightning_output


def fit(trainer: TrainerProtocol, hooks: Hooks, n_epoch: int, loader: Any, valid_loader: Any) -> None:
    """Train for some epochs more.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    hooks : Hooks
        What to call on the way.
    n_epoch : int
        Number of epochs.
    loader, valid_loader : iterable of batches
        The data; ``valid_loader`` may be None.
    """
    done = trainer._zae_state.records.lightning_progress
    with _Surroundings(trainer):
        lightning_trainer = build_trainer(trainer, max_epochs=done.get("epochs", 0) + n_epoch)
        trainer.lightning_trainer = lightning_trainer
        if lightning_trainer.limit_val_batches == 0:
            hooks.valid_loader = valid_loader = None
        hides = bool(
            trainer._zae_state.config.trainer_kwargs.get("overfit_batches")
        )  # its loaders are in order already
        train, valid = (None if part is None else DataLoaderWrapper(part, hides) for part in (loader, valid_loader))
        resumed = hooks.resume_mid_epoch()
        restore_progress(lightning_trainer, done, resumed)
        if resumed is not None and train is not None:
            train.skip(*resumed[:2])
        module = make_module(hooks, train, valid)
        tunes_batch_size = bool(_instances(trainer.callbacks, BatchSizeFinder))
        try:
            if tunes_batch_size:  # which asks the module for loaders again and again
                lightning_trainer.fit(module, None, valid if valid is not None else [])
            else:
                lightning_trainer.fit(module, train, valid)
        finally:
            for part in (module._loader, valid):
                if part is not None:
                    part.close()
            trainer._zae_state.records.lightning_progress = read_progress(lightning_trainer)


def test(trainer: TrainerProtocol, hooks: Hooks, loader: Any) -> None:
    """Run one test epoch.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    hooks : Hooks
        What to call on the way.
    loader : iterable of batches
        The data.
    """
    with _Surroundings(trainer):
        lightning_trainer = build_trainer(trainer)
        if trainer.lightning_trainer is None:
            trainer.lightning_trainer = lightning_trainer
        exact = DataLoaderWrapper(loader)
        try:
            lightning_trainer.test(make_module(hooks, exact), exact, verbose=False)
        finally:
            exact.close()


def launch(
    trainer: TrainerProtocol, worlds: list[Any], screen: Any, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Call a function with the trainer in several processes; afterwards the trainer is as rank 0's.

    Parameters
    ----------
    trainer : TrainerProtocol
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
    objects = named_objects(trainer, args)
    with suppress_lightning_output():
        launched = run_in_processes(trainer, worlds, screen, function, args, kwargs)
        if launched.result is not None:
            metrics = apply_results(trainer, objects, launched.result)
            lightning_trainer = build_trainer(trainer, world=worlds[0])
            restore_progress(lightning_trainer, trainer._zae_state.records.lightning_progress)
            lightning_trainer.callback_metrics.update(metrics)
            trainer.lightning_trainer = lightning_trainer
            if (parameter := next(trainer.model.parameters(), None)) is not None:
                move_to_device(trainer, parameter.device)
    if launched.failure is not None:
        raise launched.failure


def build_trainer(trainer: TrainerProtocol, *, world: Any = None, **arguments: Any) -> L.Trainer:
    """Return the ``L.Trainer`` of one run.

    Parameters
    ----------
    trainer : TrainerProtocol
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
    config = trainer._zae_state.config
    if isinstance(trainer.callbacks, list):  # else it is something of the user's own
        factories, config.callback_factories = config.callback_factories, []
        trainer.callbacks += [factory(trainer) for factory in factories]
    callbacks, loggers = _instances(trainer.callbacks, Callback), _instances(trainer.loggers, Logger)
    given: dict[str, Any] = {
        **_defaults(config.trainer_kwargs),
        # Lightning refuses checkpoint callbacks unless this is on, and adds one of its own unless it is off.
        "enable_checkpointing": bool(_instances(callbacks, Checkpoint)),
        **config.trainer_kwargs,
    }
    place = placement_arguments(
        trainer.device,
        trainer.primary_device_index,
        world or trainer._zae_state.process.world,
        given.pop("strategy", trainer._zae_strategy),
    )
    plugins = [*place.pop("plugins"), *_listed(given.pop("plugins", None))]
    if "precision" not in given and not _instances(plugins, Precision):
        plugins.append(precision_for(config.precision))
    return FastTrainer(
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
        defaults |= {"profiler": NullProfiler(), "detect_anomaly": torch.is_anomaly_enabled()}
    return defaults


def _own_callbacks(others: list[Any], given: Mapping[str, Any]) -> list[Callback]:
    """Return the callbacks that others need before them."""
    if given["enable_progress_bar"] or _instances(others, ProgressBar):
        return [EpochResultsCallback(), ProgressBarMetrics()]
    return [EpochResultsCallback()] if others else []


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _instances(values: Any, kind: type) -> list[Any]:
    return [value for value in values if isinstance(value, kind)] if isinstance(values, list) else []


class _Surroundings:
    """While Lightning runs: quiet. Afterwards: everything back in its place, and the user's exceptions as they were."""

    def __init__(self, trainer: TrainerProtocol) -> None:
        self._trainer = trainer

    def __enter__(self) -> None:
        self._stack = ExitStack()
        self._stack.callback(_restore_device, self._trainer)
        self._stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        if threading.current_thread() is threading.main_thread():
            # Lightning leaves SIGINT ignored after a Ctrl-C.
            self._stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        self._stack.enter_context(suppress_lightning_output())
        loggers = _instances(self._trainer.loggers, Logger)
        self._stack.enter_context(
            suppress_logger_errors(loggers, self._trainer._zae_state.records.logger_connector.warn_once)
        )

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()
        if (original := unwrap_user_exception(error)) is not None:
            raise original from None


def _restore_device(trainer: TrainerProtocol) -> None:
    """Move model and optimizer state back to the user's device; Lightning leaves them on the CPU."""
    device = trainer.device[trainer.primary_device_index]
    if device.type != "cpu":
        move_to_device(trainer, device)
