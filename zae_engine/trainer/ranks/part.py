"""Whether a trainer runs in several processes, and taking part in that as one of them."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from .dealing import Dealt
from .trained import Trained, buffers

if TYPE_CHECKING:
    from .._trainer import Trainer
    from .world import World


def distributes(trainer: Trainer) -> bool:
    """Whether the trainer uses all of its devices: by MultiGPUAddon, or by a strategy that it was given."""
    strategy = trainer._zae_state.lightning.get("strategy", trainer._zae_strategy)
    return trainer._zae_distributes or not (isinstance(strategy, str) and strategy == "auto")


def needs_processes(trainer: Trainer) -> bool:
    """Whether processes are to be started for what the trainer is about to do."""
    if trainer._zae_state.world is not None or not distributes(trainer):
        return False
    if len(trainer.device) > 1:
        return True
    if trainer._zae_distributes and not trainer._zae_state.told_of_one_device:
        trainer._zae_state.told_of_one_device = True
        warnings.warn(
            f"There is one device ({trainer.device[0]}), so everything runs in this process. For several processes "
            f'give a list, device=["cuda:0", "cuda:1"] or device=["cpu", "cpu"], or start the script with torchrun.',
            stacklevel=3,
        )
    return False


def waits_for_processes(trainer: Trainer) -> bool:
    """Whether the model stays on the CPU: in a notebook, where using CUDA now would prevent the forks later."""
    return hasattr(sys, "ps1") and distributes(trainer) and len(trainer.device) > 1 and trainer._zae_state.world is None


def tell_of_unused_devices(trainer: Trainer) -> None:
    """Warn of a list of devices that only the first is used of."""
    if len(trainer.device) > 1 and not distributes(trainer):
        warnings.warn(
            f"device is a list of {len(trainer.device)}, but the trainer has no MultiGPUAddon: it runs on the first, "
            f"{trainer.device[0]}. To use all, make the class with Trainer.add_on(MultiGPUAddon).",
            stacklevel=5,
        )


@contextmanager
def taking_part(trainer: Trainer, *loaders: Any) -> Iterator[tuple[Any, ...]]:
    """Give this rank's part of each loader, in a process that is connected with the others.

    Alone, the loaders are given back as they are.

    Parameters
    ----------
    trainer : Trainer
        The trainer, of which every rank has its own.
    *loaders
        The user's loaders; None stays None.
    """
    world = trainer._zae_state.world
    if world is None:
        yield loaders
        return
    if not dist.is_initialized():
        importlib.import_module("zae_lightning").connect(trainer)
    if world.launcher != "trainer" and not trainer._zae_state.is_synchronised:
        trainer._zae_state.is_synchronised = True
        for tensor in [*Trained(trainer)(), *buffers(trainer)]:  # each process has made its own
            dist.broadcast(tensor.data, src=0)
    yield deal_out(trainer, world, *loaders)


def deal_out(trainer: Trainer, world: World, *loaders: Any) -> tuple[Any, ...]:
    """Return a rank's part of each loader; of all else, and with ``use_distributed_sampler=False``, the thing itself.

    Raises
    ------
    ValueError
        If a loader cannot be dealt out, or the first one, that for training, has too few batches.
    """
    if not trainer._zae_state.lightning.get("use_distributed_sampler", True):
        return loaders
    keeps_step = not _is_ddp(trainer._zae_state.lightning.get("strategy", trainer._zae_strategy))
    roles: Iterator[Callable[[], bool]] = chain([lambda: trainer.mode == "train"], repeat(lambda: False))

    def epoch() -> int:
        return trainer.progress_checker.get_epoch() - 1

    dealt = tuple(
        Dealt(loader, world, next(roles), epoch, keeps_step)
        if _is_loader(loader) and not isinstance(loader, Dealt)
        else loader
        for loader in loaders
    )
    if trainer.mode == "train":
        next(part for part in dealt if isinstance(part, Dealt)).check_enough()
    return dealt


def _is_loader(value: Any) -> bool:
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")


def _is_ddp(strategy: Any) -> bool:
    if isinstance(strategy, str):
        return strategy == "auto" or "ddp" in strategy
    return any(cls.__name__ == "DDPStrategy" for cls in type(strategy).__mro__)
