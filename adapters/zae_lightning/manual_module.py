"""Manual module: the LightningModule of a trainer that overrides ``run_batch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .dataloader import DataLoaderWrapper
from .exceptions import propagate_stop_iteration
from .foreign_lightning import module_class
from .module import AutomaticOptimizationModule
from .progress import count_step
from .protocol import Hooks
from .sharding import attach_configure_model


def make_module(
    hooks: Hooks,
    loader: DataLoaderWrapper | None = None,
    valid_loader: DataLoaderWrapper | None = None,
    for_both_packages: bool = False,
) -> AutomaticOptimizationModule:
    """Return the LightningModule of a trainer.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper, optional
        The loaders that Lightning iterates; None for the user's ``L.Trainer``.
    for_both_packages : bool, optional
        Whether the module is to be one of ``pytorch_lightning`` too, if the program has imported that.

    Returns
    -------
    AutomaticOptimizationModule
        A `ManualOptimizationModule` if the trainer overrides ``run_batch``.
    """
    cls = ManualOptimizationModule if hooks.uses_manual_optimization else AutomaticOptimizationModule
    module: AutomaticOptimizationModule = (module_class(cls) if for_both_packages else cls)(hooks, loader, valid_loader)
    attach_configure_model(module)
    return module


class ManualOptimizationModule(AutomaticOptimizationModule):
    """Runs an overridden ``run_batch`` with Lightning's manual optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper or None
        The loaders that Lightning iterates; None for the user's ``L.Trainer``.
    """

    has_known_hooks = True  # not of a subclass; see performance/training_loop.py

    def __init__(self, hooks: Hooks, loader: DataLoaderWrapper | None, valid_loader: DataLoaderWrapper | None) -> None:
        super().__init__(hooks, loader, valid_loader)
        self.automatic_optimization = False
        self._lightning_counts_step = False
        self._has_counted = False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch of the loader unchanged, since ``run_batch`` moves it; for callbacks, move it whole."""
        if self.hooks.follows_lightning:
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch

    @propagate_stop_iteration
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Call the user's ``run_batch``; the strategy runs backward and step if it calls `Trainer.run_batch`.

        The trainer's optimizer stays the user's object. Each of its steps is counted.
        """
        scale = self.hooks.begin_batch(batch_idx)
        optimizer = self._optimizer
        handle = optimizer.register_step_post_hook(self._count_step) if optimizer is not None else None
        before = None if self._has_counted else self._version_of_weights()
        try:
            step = self._step_through_lightning if optimizer is not None else None
            output = self.hooks.run_batch(batch, backward=self.manual_backward, step=step)
        finally:
            if handle is not None:
                handle.remove()
        self.hooks.check_shares(scale, output)
        if not self._has_counted and self.hooks.mode == "train" and self._version_of_weights() != before:
            count_step(self.trainer)  # an update by other means, such as `first_step` and `second_step`
        if self.hooks.follows_lightning and self.hooks.mode == "train":
            self._step_metrics.update(self.trainer, output)
        return dict(output)

    def _version_of_weights(self) -> int:
        """Return a number that changes with every update of the weights in place."""
        return sum(parameter._version for parameter in self.model.parameters())

    def _step_through_lightning(self) -> None:
        self._has_counted = True
        is_replaced = self._sync_optimizer()  # within this batch, so Lightning does not count the new optimizer's step
        self._lightning_counts_step = True
        try:
            self.optimizers().step()  # type: ignore[union-attr]
        finally:
            self._lightning_counts_step = False
        if is_replaced:
            count_step(self.trainer)

    def _count_step(self, *args: Any) -> None:
        self._has_counted = True
        if not self._lightning_counts_step:
            count_step(self.trainer)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip the gradients, which Lightning has unscaled, if the step comes from `Trainer.run_batch`."""
        self.hooks.clip_gradients(if_due=True)

    def _test(self, batch: Any) -> dict[str, Any] | None:
        output = self.hooks.run_batch(batch)
        return dict(output) if isinstance(output, Mapping) else None
