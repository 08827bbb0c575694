"""Runner: building the ``L.Trainer`` of a run, running it, and restoring the process afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import Precision

from .added_modules import move_added_modules
from .callbacks import EpochResultsCallback, ProgressBarMetrics
from .data_fetcher import install_loops
from .dataloader import DataLoaderWrapper
from .datamodule import is_lightning_data_module, lent_to_lightning
from .device_transfer import move_to_device
from .exceptions import keep_exception, unwrap_user_exception
from .foreign_lightning import MixedTrainer, bridged, check_can_be_bridged, is_instance, trainer_class
from .launchers.launcher import run_in_processes
from .launchers.object_paths import named_objects
from .launchers.results import apply_results
from .loggers.error_guard import suppress_logger_errors
from .manual_module import make_module
from .module import AutomaticOptimizationModule
from .monitors import deferred_monitors
from .performance.precision import precision_for
from .performance.profiler import NullProfiler
from .progress import read_progress, restore_progress
from .protocol import Hooks, Screen, TrainerProtocol, World
from .release import LightningRun, release
from .several_loaders import for_lightning, wrapped
from .strategies import placement_arguments, plugins_for
from .warnings_filter import suppress_lightning_output


def fit(trainer: TrainerProtocol, hooks: Hooks, n_epoch: int, loader: Any, valid_loader: Any) -> None:
    """Train for more epochs.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    hooks : Hooks
        The run's hooks.
    n_epoch : int
        The number of epochs.
    loader, valid_loader : iterable of batches
        The data; ``valid_loader`` may be None.
    """
    progress = trainer._zae_state.records.lightning_progress
    with _RunContext(trainer) as context:
        lightning_trainer = build_trainer(trainer, max_epochs=progress.get("epochs", 0) + n_epoch)
        previous = _module_of(trainer.lightning_trainer)
        _keep(trainer, lightning_trainer)
        if lightning_trainer.limit_val_batches == 0:
            hooks.valid_loader = valid_loader = None
        # With overfit_batches the loaders are in order already; Lightning must not build others from the datasets.
        hide_dataset = bool(trainer._zae_state.config.trainer_kwargs.get("overfit_batches"))
        # With a Lightning part, samplers are told the epoch; the share of a process has told it already.
        hide_samplers = not hooks.follows_lightning or trainer._zae_state.process.world is not None
        train, valid = (
            None if data is None else wrapped(data, hide_dataset, hide_samplers) for data in (loader, valid_loader)
        )
        resumed = hooks.resume_mid_epoch()
        restore_progress(lightning_trainer, progress, resumed)
        if resumed is not None and train is not None:
            train.skip(*resumed[:2])
        module = make_module(hooks, train, valid, isinstance(lightning_trainer, MixedTrainer))
        move_added_modules(previous, module)
        tunes_batch_size = bool(_instances(trainer.callbacks, BatchSizeFinder))
        context.at_end(_read_progress, trainer, lightning_trainer)
        context.at_end(_close, module, valid)
        with deferred_monitors(trainer.callbacks, hooks.monitor_deferral):
            if (data := trainer._zae_state.run.data_module) is not None:
                with lent_to_lightning(data, hooks, module, {"train": train, "valid": valid}):
                    lightning_trainer.fit(module, datamodule=data)
            elif tunes_batch_size:  # the batch size finder reads the loader of the module for each size
                lightning_trainer.fit(module, None, for_lightning(valid) if valid is not None else [])
            else:
                lightning_trainer.fit(module, train, for_lightning(valid))


def test(trainer: TrainerProtocol, hooks: Hooks, loader: Any) -> None:
    """Run one test epoch.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    hooks : Hooks
        The run's hooks.
    loader : iterable of batches
        The data.
    """
    with _RunContext(trainer) as context:
        lightning_trainer = build_trainer(trainer)
        previous = _module_of(trainer.lightning_trainer)
        if trainer.lightning_trainer is None:
            _keep(trainer, lightning_trainer)
        else:
            context.at_end(release, lightning_trainer)
        wrapper = wrapped(loader)
        context.at_end(wrapper.close)
        module = make_module(hooks, wrapper, None, isinstance(lightning_trainer, MixedTrainer))
        move_added_modules(previous, module)
        if (data := trainer._zae_state.run.data_module) is not None:
            with lent_to_lightning(data, hooks, module, {"test": wrapper}):
                lightning_trainer.test(module, datamodule=data, verbose=False)
        else:
            lightning_trainer.test(module, for_lightning(wrapper), verbose=False)


@contextmanager
def attached_data_module(trainer: TrainerProtocol, data: Any) -> Iterator[None]:
    """Give a LightningDataModule an ``L.Trainer``, and pass it to Lightning in the runs within the context.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    data : LightningDataModule
        The data module; for another object, the function does nothing.
    """
    if not is_lightning_data_module(data):
        yield
        return
    with suppress_lightning_output():
        data.trainer = build_trainer(trainer, max_epochs=-1)  # for setup; a run has one of its own
    trainer._zae_state.run.data_module = data
    try:
        yield
    finally:
        trainer._zae_state.run.data_module = None


def _read_progress(trainer: TrainerProtocol, lightning_trainer: L.Trainer) -> None:
    trainer._zae_state.records.lightning_progress = read_progress(lightning_trainer)


def _close(module: AutomaticOptimizationModule, valid: DataLoaderWrapper | None) -> None:
    module.restore_gradients()
    for wrapper in (module._loader, valid):
        if wrapper is not None:
            wrapper.close()


def _module_of(lightning_trainer: L.Trainer | None) -> L.LightningModule | None:
    return None if lightning_trainer is None else lightning_trainer.lightning_module


def _keep(trainer: TrainerProtocol, lightning_trainer: L.Trainer) -> None:
    """Make an ``L.Trainer`` that of the latest run, which is released together with the trainer."""
    trainer.lightning_trainer = lightning_trainer
    trainer._zae_state.process.lightning_run = LightningRun(lightning_trainer)


def launch(
    trainer: TrainerProtocol,
    worlds: Sequence[World],
    screen: Screen,
    function: Callable[..., None],
    *args: Any,
    **kwargs: Any,
) -> None:
    """Call a function with the trainer in several processes; afterwards apply the results of rank 0 to the trainer.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    worlds : sequence of World
        The world of each rank.
    screen : Screen
        The display of rank 0, in this process.
    function : callable
        Receives the trainer and the following arguments.
    *args, **kwargs
        The arguments, loaders among them.

    Raises
    ------
    TypeError
        If an object cannot be sent to another process; the message names it.
    ProcessFailed
        If a process is killed, or exits without a result.
    Exception
        The first exception that a process raises, unchanged.
    """
    objects = named_objects(trainer, args)
    with suppress_lightning_output():
        launched = run_in_processes(trainer, worlds, screen, function, args, kwargs)
        if launched.result is not None:
            with keep_exception(launched.failure):
                _apply(trainer, worlds, objects, launched.result)
    if launched.failure is not None:
        try:
            raise launched.failure
        finally:  # or this frame, which the exception refers to, would keep the exception
            del launched


def _apply(trainer: TrainerProtocol, worlds: Sequence[World], objects: Any, result: Any) -> None:
    """Give the trainer what rank 0 has sent, and an ``L.Trainer`` with the counts of the run."""
    metrics = apply_results(trainer, objects, result)
    lightning_trainer = build_trainer(trainer, world=worlds[0])
    restore_progress(lightning_trainer, trainer._zae_state.records.lightning_progress)
    lightning_trainer.callback_metrics.update(metrics)
    _keep(trainer, lightning_trainer)
    if (parameter := next(trainer.model.parameters(), None)) is not None:
        move_to_device(trainer, parameter.device)


def build_trainer(trainer: TrainerProtocol, *, world: World | None = None, **arguments: Any) -> L.Trainer:
    """Return the ``L.Trainer`` of one run.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    world : World, optional
        The processes that train together; by default the trainer's.
    **arguments
        Further arguments of ``L.Trainer``.

    Returns
    -------
    lightning.pytorch.Trainer
        It runs on the trainer's device, has its callbacks and loggers, prints nothing and writes no checkpoints.
    """
    config = trainer._zae_state.config
    if isinstance(trainer.callbacks, list):  # otherwise a subclass uses the name for something else
        factories, config.callback_factories = config.callback_factories, []
        trainer.callbacks += [factory(trainer) for factory in factories]
    callbacks, loggers = _instances(trainer.callbacks, Callback), _instances(trainer.loggers, Logger)
    given: dict[str, Any] = {
        **_defaults(config.trainer_kwargs),
        "enable_progress_bar": bool(_instances(callbacks, ProgressBar)),
        # If this is false, Lightning rejects checkpoint callbacks; if it is true, it adds one where there is none.
        "enable_checkpointing": bool(_instances(callbacks, Checkpoint)),
        **config.trainer_kwargs,
    }
    world = world or trainer._zae_state.process.world
    placement = placement_arguments(
        trainer.device,
        trainer.primary_device_index,
        world,
        given.pop("strategy", trainer._zae_strategy),
    )
    plugins = plugins_for(placement.pop("plugins"), _as_list(given.pop("plugins", None)), world)
    check_can_be_bridged(given.get("strategy"), placement.get("strategy"), *plugins, *callbacks)
    if "precision" not in given and not _instances(plugins, Precision):
        plugins.append(precision_for(config.precision))
    objects = [*callbacks, *loggers]
    make = trainer_class(objects)
    with bridged(objects):
        lightning_trainer = make(
            **{**given, **placement, **arguments},
            plugins=plugins,
            callbacks=[*_adapter_callbacks(callbacks, given), *callbacks],
            logger=loggers or False,
        )
    install_loops(lightning_trainer)
    return lightning_trainer


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``L.Trainer`` whose defaults differ from Lightning's."""
    defaults: dict[str, Any] = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,  # a sanity check draws from the random number generator
        "inference_mode": False,  # zae-engine uses no_grad, so that outputs can be trained on later
    }
    if not given.get("barebones"):  # barebones rejects a profiler and anomaly detection
        defaults |= {"profiler": NullProfiler(), "detect_anomaly": torch.is_anomaly_enabled()}
    return defaults


def _adapter_callbacks(others: list[Any], given: Mapping[str, Any]) -> list[Callback]:
    """Return the adapter's callbacks, which run before the others."""
    if given["enable_progress_bar"]:
        return [EpochResultsCallback(), ProgressBarMetrics()]
    return [EpochResultsCallback()] if others else []


def _as_list(value: Any) -> list[Any]:
    is_container = isinstance(value, Iterable) and not isinstance(value, str)
    return [] if value is None else list(value) if is_container else [value]


def _instances(values: Any, kind: type) -> list[Any]:
    return [value for value in values if is_instance(value, kind)] if isinstance(values, list) else []


class _RunContext:
    """Suppresses Lightning's output during a run; afterwards restores device, grad mode and SIGINT handler.

    An exception of the user leaves the context unchanged by Lightning, and by a failure of what ends the run.
    """

    def __init__(self, trainer: TrainerProtocol) -> None:
        self._trainer = trainer

    def __enter__(self) -> _RunContext:
        self._stack = ExitStack()
        self._stack.callback(_restore_device, self._trainer)
        self._stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        if threading.current_thread() is threading.main_thread():
            # After a Ctrl-C, Lightning keeps SIGINT ignored.
            self._stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        self._stack.enter_context(suppress_lightning_output())
        loggers = _instances(self._trainer.loggers, Logger)
        self._stack.enter_context(bridged([*_instances(self._trainer.callbacks, Callback), *loggers]))
        self._stack.enter_context(
            suppress_logger_errors(loggers, self._trainer._zae_state.records.logger_connector.warn_once)
        )
        return self

    def at_end(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function when the context ends, before those that were given earlier, and whatever they raise."""
        self._stack.callback(function, *args)

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        original = unwrap_user_exception(error)
        try:
            with keep_exception(original if original is not None else error):
                self._stack.close()
            if original is not None:
                raise original from None
        finally:  # or this frame, which the exception refers to, would keep the exception and all its frames
            del original, error, traceback


def _restore_device(trainer: TrainerProtocol) -> None:
    """Move model and optimizer state to the user's device, since Lightning moves them to the CPU after a run."""
    device = trainer.device[trainer.primary_device_index]
    if device.type != "cpu":
        move_to_device(trainer, device)
