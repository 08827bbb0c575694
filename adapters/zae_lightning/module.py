"""The generated LightningModule: where each of Lightning's hooks becomes a zae-engine hook.

This is the file to read to see what Lightning does with a zae-engine trainer. `StepModule` runs a trainer that has only
``train_step`` and ``test_step``; `BatchModule` one that overrides ``run_batch``. Both hold the user's model as
``self.model`` and everything else behind `Hooks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as L
import torch

from .protocol import Hooks


class StepStopped(BaseException):
    """Carries a `StopIteration` out of a user's step, which Lightning's loops would take for the end of the data."""

    def __init__(self, original: StopIteration) -> None:
        super().__init__()
        self.original = original


def make_module(hooks: Hooks) -> StepModule:
    """Return the module that runs a trainer: a `BatchModule` if it overrides ``run_batch``, else a `StepModule`."""
    return BatchModule(hooks) if hooks.owns_batches else StepModule(hooks)


class StepModule(L.LightningModule):
    """Runs ``train_step`` and ``test_step`` with Lightning's automatic optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    """

    def __init__(self, hooks: Hooks) -> None:
        super().__init__()
        self.hooks = hooks
        self.model = hooks.model
        self._step: Mapping[str, Any] | None = None

    # Optimizer and scheduler: the user's own. The hooks step the scheduler, at zae-engine's moments; Lightning knows it
    # so that callbacks and checkpoints find it.

    def configure_optimizers(self) -> Any:
        """Hand the user's optimizer and scheduler to Lightning."""
        if self.hooks.optimizer is None or self.hooks.scheduler is None:
            return self.hooks.optimizer
        scheduler = {"scheduler": self.hooks.scheduler, "interval": self.hooks.scheduler_interval}
        if self.automatic_optimization:
            scheduler["reduce_on_plateau"] = False  # Lightning would look for a monitored metric
        return {"optimizer": self.hooks.optimizer, "lr_scheduler": scheduler}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave the user's scheduler to the hooks; step any other, such as one that a callback put in its place."""
        if scheduler is not self.hooks.scheduler:
            super().lr_scheduler_step(scheduler, metric)

    # A training batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Unpack the batch as zae-engine does, and move it."""
        return None if batch is None else self.hooks.to_device(batch)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Run ``train_step``; Lightning goes on with backward, clipping and the optimizer's step."""
        first_to_accumulate = batch_idx % self.trainer.accumulate_grad_batches == 0
        self._step = _unstopped(self.hooks.train_forward, batch, zero_grad=first_to_accumulate)
        return dict(self._step)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Do nothing: the gradients were cleared before ``train_step``, which may call backward by itself."""

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip as ``gradient_clip`` says, and as a ``gradient_clip_val`` given to Lightning says."""
        self.hooks.clip_gradients()
        super().configure_gradient_clipping(optimizer, *args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Let Lightning train the batch, then log it, before any callback sees the end of the batch."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._finish()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log a batch whose gradients were only accumulated, and count."""
        self._finish()
        self.hooks.batch_done(batch)

    def _finish(self) -> None:
        if self._step is not None:
            step, self._step = self._step, None
            self.hooks.finish(step)

    # A test batch

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any] | None:
        """Run ``test_step`` and log it; pass over a ``None`` batch."""
        if batch is None:
            return None
        step_dict = _unstopped(self.hooks.test_forward, batch)
        self.hooks.finish(step_dict)
        return dict(step_dict)

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count."""
        self.hooks.batch_done(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any] | None:
        """As `validation_step`."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count."""
        self.hooks.batch_done(batch)

    # The epochs

    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""
        self.hooks.epoch_starts()

    def on_validation_model_zero_grad(self) -> None:
        """Validation begins: the last hook before Lightning draws from the validation loader.

        The gradients stay, as in zae-engine.
        """
        self.hooks.validation_starts()

    def on_validation_start(self) -> None:
        """Validation begins, also where Lightning left out the hook above (while gradients accumulate)."""
        if not self.trainer.sanity_checking:
            self.hooks.validation_starts()

    def on_validation_epoch_end(self) -> None:
        """Validation is over."""
        if not self.trainer.sanity_checking:
            self.hooks.validation_ends()

    def on_train_epoch_end(self) -> None:
        """The epoch is over, validation included."""
        self.hooks.epoch_ends()

    def on_test_start(self) -> None:
        """A test epoch begins."""
        self.hooks.epoch_starts()

    def on_test_epoch_end(self) -> None:
        """A test epoch is over."""
        self.hooks.epoch_ends()

    # Left to the steps, which set the model's mode at every batch and clear gradients themselves

    def on_validation_model_eval(self) -> None:
        """Do nothing."""

    def on_validation_model_train(self) -> None:
        """Do nothing."""

    def on_test_model_eval(self) -> None:
        """Do nothing."""

    def on_test_model_train(self) -> None:
        """Do nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: Lightning clears all gradients when a run starts, zae-engine those of the optimizer per batch."""


class BatchModule(StepModule):
    """Runs an overridden ``run_batch``, with Lightning's manual optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    """

    def __init__(self, hooks: Hooks) -> None:
        super().__init__(hooks)
        self.automatic_optimization = False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave the batch as the loader gave it: ``run_batch`` moves it."""
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Call the user's ``run_batch`` with Lightning's optimizer, so that its steps go through the strategy."""
        optimizer = self.optimizers() if self.hooks.optimizer is not None else None
        return dict(_unstopped(self.hooks.run_batch, batch, optimizer=optimizer, backward=self.manual_backward))

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip, if the step comes from `Trainer.run_batch`; Lightning has unscaled the gradients by now."""
        self.hooks.clip_gradients(if_due=True)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any] | None:
        """Call the user's ``run_batch``, in test mode; pass over a ``None`` batch."""
        return None if batch is None else dict(_unstopped(self.hooks.run_batch, batch))


def _unstopped(function: Callable[..., Mapping[str, Any]], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        raise StepStopped(error) from error
