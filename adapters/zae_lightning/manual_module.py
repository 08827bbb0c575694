"""The generated LightningModule of a trainer that overrides ``run_batch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .dataloader import DataLoaderWrapper
from .exceptions import propagate_stop_iteration
from .module import AutomaticOptimizationModule
from .progress import count_step
from .protocol import Hooks


def make_module(
    hooks: Hooks, loader: DataLoaderWrapper | None = None, valid_loader: DataLoaderWrapper | None = None
) -> AutomaticOptimizationModule:
    """Return the module that runs a trainer: a `ManualOptimizationModule` if its batches are its own affair, else a `AutomaticOptimizationModule`.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper, optional
        The loaders that Lightning is given; none if the module is for an ``L.Trainer`` of the user's own.
    """
    return (ManualOptimizationModule if hooks.uses_manual_optimization else AutomaticOptimizationModule)(
        hooks, loader, valid_loader
    )


class ManualOptimizationModule(AutomaticOptimizationModule):
    """Runs an overridden ``run_batch``, with Lightning's manual optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper
        The loaders that Lightning is given.
    """

    def __init__(self, hooks: Hooks, loader: DataLoaderWrapper | None, valid_loader: DataLoaderWrapper | None) -> None:
        super().__init__(hooks, loader, valid_loader)
        self.automatic_optimization = False
        self._stepping = False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave the batch as the loader gave it: ``run_batch`` moves it."""
        return batch

    @propagate_stop_iteration
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Call the user's ``run_batch``; what `Trainer.run_batch` does of it goes through the strategy.

        ``self.optimizer`` stays the user's own object; each step that it takes is counted.
        """
        self.hooks.begin_batch(batch_idx)
        optimizer = self._optimizer
        handle = optimizer.register_step_post_hook(self._count_step) if optimizer is not None else None
        try:
            step = self._step_through_lightning if optimizer is not None else None
            output = self.hooks.run_batch(batch, backward=self.manual_backward, step=step)
        finally:
            if handle is not None:
                handle.remove()
        return dict(output)

    def _step_through_lightning(self) -> None:
        replaced = self._sync_optimizer()  # within this very batch, so that Lightning does not count its step
        self._stepping = True
        try:
            self.optimizers().step()  # type: ignore[union-attr]
        finally:
            self._stepping = False
        if replaced:
            count_step(self.trainer)

    def _count_step(self, *args: Any) -> None:
        if not self._stepping:
            count_step(self.trainer)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip, if the step comes from `Trainer.run_batch`; Lightning has unscaled the gradients by now."""
        self.hooks.clip_gradients(if_due=True)

    def predict_step(self, batch: Any, *args: Any) -> Any:
        """As `AutomaticOptimizationModule.predict_step`."""
        return super().predict_step(self.hooks.to_device(batch), *args)

    def _test(self, batch: Any) -> dict[str, Any] | None:
        output = self.hooks.run_batch(batch)
        return dict(output) if isinstance(output, Mapping) else None
