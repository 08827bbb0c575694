"""Monitors: callbacks that read a metric, in epochs whose validation is not part of the same ``L.Trainer.fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from .base_module import tensors
from .protocol import TrainerProtocol

_HOOKS = ("on_validation_end", "on_train_epoch_end")


def is_monitor(callback: Any) -> bool:
    """Whether a callback saves or stops by a metric; Lightning too treats these two classes apart."""
    return isinstance(callback, (Checkpoint, EarlyStopping)) and getattr(callback, "monitor", None) is not None


@contextmanager
def deferred_monitors(callbacks: Any, deferral: str) -> Iterator[None]:
    """Keep monitors from reading metrics at the end of an epoch.

    An epoch that ``run_epoch`` runs has no validation, so that ``val_loss`` is missing there: an error in Lightning.

    Parameters
    ----------
    callbacks : iterable of Callback
        The callbacks of the epoch.
    deferral : {"none", "missing", "all"}
        Which monitors wait: none, those whose metric is missing, or all, until `check_monitors`.
    """
    with ExitStack() as stack:
        if deferral != "none" and isinstance(callbacks, Iterable):
            for callback in filter(is_monitor, callbacks):
                for name in _HOOKS:
                    setattr(callback, name, _deferred(callback, getattr(callback, name), deferral == "missing"))
                    stack.callback(callback.__dict__.pop, name, None)
        yield


def _deferred(callback: Any, hook: Callable[..., None], runs_if_known: bool) -> Callable[..., None]:
    def run_if_known(trainer: Any, pl_module: Any) -> None:
        if runs_if_known and callback.monitor in trainer.callback_metrics:
            hook(trainer, pl_module)

    return run_if_known


def check_monitors(trainer: TrainerProtocol, results: Mapping[str, float]) -> None:
    """Let the deferred monitors save and stop, when the results of an epoch's training and validation are known.

    Parameters
    ----------
    trainer : TrainerProtocol
        A trainer whose ``run_epoch`` has run the epoch.
    results : mapping of str to float
        The results of the epoch, under the names of ``callback_metrics``.
    """
    lightning_trainer, callbacks = trainer.lightning_trainer, trainer.callbacks
    if lightning_trainer is None or not isinstance(callbacks, Iterable):
        return  # an override that runs no epoch of Lightning's
    lightning_trainer.callback_metrics.update(tensors(results))
    epochs = lightning_trainer.fit_loop.epoch_progress.current
    epochs.completed -= 1  # callbacks read `current_epoch`, which is that of the epoch until it is finished
    try:
        for callback in filter(is_monitor, callbacks):
            for name in _HOOKS:
                getattr(callback, name)(lightning_trainer, lightning_trainer.lightning_module)
    finally:
        epochs.completed += 1
