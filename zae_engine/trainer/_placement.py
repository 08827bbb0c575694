"""Where a trainer's model and batches go, and what it knows of its loaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from . import checks, devices, ranks
from ._state import State


class Placement:
    """The part of `Trainer` that knows devices and loaders; subclasses may override any method, as in 0.7.6."""

    mode: str
    scheduler: Any
    scheduler_step_on_batch: bool
    _zae_state: State

    def __init__(self, device: devices.DeviceLike | Sequence[devices.DeviceLike]) -> None:
        self.primary_device_index = 0
        self.device: list[torch.device]
        self._set_device(device)
        self._take_place()
        self.loader: Any = None
        self.valid_loader: Any = None
        self.n_data: int | None = None
        self.n_valid_data: int | None = None
        self.batch_size: int | None = None
        self.valid_batch_size: int | None = None

    def _set_device(self, device: devices.DeviceLike | Sequence[devices.DeviceLike]) -> None:
        self.device = devices.parse(device)
        if len(self.device) == 1 and self.device[0].type == "cuda":
            torch.cuda.set_device(self.device[0])

    def _take_place(self) -> None:
        """Take the device of this process, if a launcher such as torchrun has started several."""
        world = ranks.World.from_environment() if ranks.distributes(self) else None  # type: ignore[arg-type]
        if world is None:
            ranks.tell_of_unused_devices(self)  # type: ignore[arg-type]
            if ranks.distributes(self):  # type: ignore[arg-type]
                self.device = devices.for_processes(self.device)
            return
        self._zae_state.world = world
        self.device = devices.of_processes(self.device, world.local_size, world.launcher)
        self.primary_device_index = world.local_rank
        if self.device[0].type == "cuda":
            torch.cuda.set_device(self.device[world.local_rank])

    def _to_device(self, *args: Any, **kwargs: Any) -> Any:
        device = self.device[self.primary_device_index]
        if args:
            moved = tuple(devices.move(value, device) for value in args)
            return moved[0] if len(moved) == 1 else moved
        return {key: devices.move(value, device) for key, value in kwargs.items()} if kwargs else None

    def _check_batch_size(self) -> None:
        self.batch_size = getattr(self.loader, "batch_size", None) if self.loader is not None else 0
        self.valid_batch_size = getattr(self.valid_loader, "batch_size", None) if self.valid_loader is not None else 0

    def _data_count(self, initial: bool = False) -> None:
        if initial:
            self.n_data, self.n_valid_data = _sample_count(self.loader), _sample_count(self.valid_loader)
            return
        ranks = self._zae_state.world.size if self._zae_state.world is not None else 1
        if self.mode == "test" and self.valid_loader is not None:
            if self.n_valid_data is not None:
                self.n_valid_data -= (self.valid_batch_size or 0) * ranks
        elif self.n_data is not None:
            self.n_data -= (self.batch_size or 0) * ranks

    def _scheduler_step_check(self, epoch: int) -> None:
        if self.scheduler_step_on_batch and "total_iters" in getattr(self.scheduler, "__dict__", {}):
            n_batches = length(self.loader)
            if n_batches is not None:
                checks.enough_iterations(self.scheduler.total_iters, epoch * n_batches)


def length(value: Any) -> int | None:
    """Return the length of a loader or dataset; None if it has none."""
    try:
        return len(value)
    except (TypeError, NotImplementedError):
        return None


def _sample_count(loader: Any) -> int | None:
    return 0 if loader is None else length(getattr(loader, "dataset", None))
