"""Runner: passing a run to Lightning, in this process or in one for each device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import checks
from .._protocol import TrainerProtocol
from ..data.datamodule import is_data_module
from ..data.loaders import in_order, length
from ..display.screens import screen_here
from ..distributed.world import World
from ..overrides import is_overridden
from ..utilities.import_guard import guarded_import
from .closure_warnings import warn_of_closure
from .epoch_hooks import EpochHooks
from .fit_hooks import FitHooks
from .multi_process import shard_loaders, should_launch

if TYPE_CHECKING:
    from zae_lightning import AutomaticOptimizationModule


def launch(trainer: TrainerProtocol, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Call a function in a process for each device; afterwards the trainer is as if it had run here.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    function : callable
        Receives the trainer and the following arguments.
    *args, **kwargs
        The arguments, loaders among them.
    """
    with guarded_import("zae_lightning"):
        import zae_lightning

    size = len(trainer.device)
    worlds = [World(rank, size, rank, size) for rank in range(size)]
    checks.has_no_lazy_parameters(trainer)
    shard_loaders(trainer, worlds[0], *args)  # raises here, not in a process, what cannot be sharded
    zae_lightning.launch(trainer, worlds, screen_here(trainer.log_bar), function, *args, **kwargs)
    trainer._zae_state.records.pending_restore = None


def fit(trainer: TrainerProtocol, n_epoch: int, hooks: FitHooks) -> None:
    """Run some epochs: in Lightning's loop, or one by one where ``run_epoch`` is overridden.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    n_epoch : int
        How many.
    hooks : FitHooks
        Those of the run.
    """
    if trainer.mode == "train" and not is_overridden(trainer, "run_epoch") and length(trainer.loader) != 0:
        with guarded_import("zae_lightning"):
            import zae_lightning

        if trainer._zae_state.config.trainer_kwargs.get("overfit_batches"):
            hooks.loader, hooks.valid_loader = in_order(hooks.loader), in_order(hooks.valid_loader)
        warn_of_closure(trainer)
        zae_lightning.fit(trainer, hooks, n_epoch, hooks.loader, hooks.valid_loader)
        hooks.say_why_it_stopped()
        return
    for _ in range(n_epoch):
        hooks.run_custom_epoch()
        if trainer.lightning_trainer is not None and trainer.lightning_trainer.should_stop:
            hooks.say_why_it_stopped()
            break


def run_one_epoch(trainer: TrainerProtocol, hooks: EpochHooks) -> None:
    """Run one epoch in the trainer's present mode, in Lightning's loop.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    hooks : EpochHooks
        Those of the epoch.
    """
    loader = hooks.loader
    if length(loader) == 0:
        hooks.start_epoch()
        for batch in loader:  # a loader may give more batches than its length says
            hooks.run_batch_outside_loop(batch)
        hooks.finish_epoch()
        return
    with guarded_import("zae_lightning"):
        import zae_lightning

    if trainer.mode == "train":
        if not is_overridden(trainer, "run_batch"):
            checks.require_optimizer(trainer)
        warn_of_closure(trainer)
        zae_lightning.fit(trainer, hooks, 1, loader, None)
    else:
        zae_lightning.test(trainer, hooks, loader)


@contextmanager
def attached_data_module(trainer: TrainerProtocol, data: Any) -> Iterator[None]:
    """Pass a LightningDataModule to Lightning in the runs within the context; for other objects, do nothing.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    data : LightningDataModule or iterable of batches
        The data.
    """
    if not is_data_module(data):
        yield
        return
    with guarded_import("zae_lightning"):
        import zae_lightning

    hooks = zae_lightning.overridden_hooks(data) if zae_lightning.is_lightning_data_module(data) else []
    if hooks and should_launch(trainer):
        warnings.warn(
            f"Several devices: the processes receive the loaders of {type(data).__name__}, but not the data module, so "
            f"that {', '.join(hooks)} is not called there. Do it in the dataset or in the step.",
            stacklevel=4,
        )
    with zae_lightning.attached_data_module(trainer, data):
        yield


def one_loader(value: Any, is_training: bool) -> Any:
    """Return several loaders, in a list, a dict or Lightning's CombinedLoader, as one; anything else unchanged.

    Parameters
    ----------
    value : object
        The user's argument.
    is_training : bool
        Whether the loaders train, so that their batches are combined; otherwise they follow one another.
    """
    if not (isinstance(value, (list, tuple, dict)) or hasattr(value, "iterables")):
        return value
    with guarded_import("zae_lightning"):
        import zae_lightning

    return zae_lightning.one_loader(value, is_training)


def make_lightning_module(trainer: TrainerProtocol) -> AutomaticOptimizationModule:
    """Return a ``LightningModule`` of the trainer, for an ``L.Trainer`` of the user's own."""
    with guarded_import("zae_lightning"):
        import zae_lightning

    return zae_lightning.make_module(FitHooks(trainer, 0, {}), for_both_packages=True)
