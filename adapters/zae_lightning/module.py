"""The generated LightningModule: where each of Lightning's hooks becomes a zae-engine hook.

This is the file to read to see what Lightning does with a zae-engine trainer. `AutomaticOptimizationModule` runs a
trainer that has only ``train_step`` and ``test_step``; ``manual_module.py`` one that overrides ``run_batch``. Both hold the user's model as
``self.model`` and everything else behind `Hooks`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import LambdaCallback

from .base_module import BaseModule, tensors
from .dataloader import DataLoaderWrapper
from .exceptions import propagate_stop_iteration
from .protocol import Hooks

_NO_BATCH = object()  # stands for a batch that is None to the step, such as [None]; Lightning skips None


class AutomaticOptimizationModule(BaseModule):
    """Runs ``train_step`` and ``test_step`` with Lightning's automatic optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper
        The loaders that Lightning is given.
    """

    def __init__(self, hooks: Hooks, loader: DataLoaderWrapper | None, valid_loader: DataLoaderWrapper | None) -> None:
        super().__init__()
        self.hooks = hooks
        self.model = hooks.model
        self._loader, self._valid_loader = loader, valid_loader
        self._step: Mapping[str, Any] | None = None
        self._optimizer: Any = None
        self._schedulers: list[Any] = []
        self._tested = self._tuning = self._is_open = False
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set plain values directly: Lightning notes a hook's name here forty times a step, and torch looks into it."""
        if name == "_current_fx_name" or ((value is None or type(value) is dict) and name in self.__dict__):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # In an L.Trainer of the user's own, the hooks begin and end with its work; otherwise with the run.

    def setup(self, stage: str) -> None:
        """Begin, in an ``L.Trainer`` of the user's own."""
        self._tuning = stage == "fit"  # callbacks such as the learning rate finder run the loop before it starts
        if self._loader is None and not self._is_open:
            self._is_open = True
            self.hooks.enter_external_trainer("train" if stage == "fit" else "test")

    def teardown(self, stage: str) -> None:
        """End, in an ``L.Trainer`` of the user's own; also called where an exception ends it."""
        if self._is_open:
            self._is_open = False
            self.hooks.__exit__(None, None, None)

    def configure_callbacks(self) -> list[Any]:
        """Return a callback that ends the module's part where an exception ends an ``L.Trainer`` of the user's own."""
        return [LambdaCallback(on_exception=lambda *_: self.teardown("fit"))] if self._loader is None else []

    # Optimizer and scheduler: the user's own. The hooks step the scheduler, at zae-engine's moments; Lightning knows it
    # so that callbacks and checkpoints find it.

    def configure_optimizers(self) -> Any:
        """Hand the user's optimizer and scheduler to Lightning, as far as they are torch's."""
        self._optimizer = self.hooks.torch_optimizer
        scheduler = self.hooks.torch_scheduler
        if self._optimizer is None or scheduler is None:
            return self._optimizer
        self._schedulers.append(scheduler)
        entry = {"scheduler": scheduler, "interval": self.hooks.scheduler_interval}
        if self.automatic_optimization:
            entry["reduce_on_plateau"] = False  # Lightning would look for a monitored metric
        return {"optimizer": self._optimizer, "lr_scheduler": entry}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave the user's scheduler to the hooks; step any other, such as one that a callback put in its place."""
        if not any(scheduler is own for own in self._schedulers):
            super().lr_scheduler_step(scheduler, metric)

    def on_fit_start(self) -> None:
        """All callbacks have had their ``on_fit_start``: what runs from now on is the run."""
        self._tuning = False
        self.hooks.exclude_from_averaging(self.parameters())

    # Checkpoints of Lightning's

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know: progress, best loss and weights, history, random states."""
        checkpoint["zae_engine"] = self.hooks.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take that up, where a checkpoint is loaded by Lightning itself, as by an ``L.Trainer`` of the user's own."""
        if "zae_engine" in checkpoint:
            self.hooks.load_state_dict(checkpoint["zae_engine"])

    def on_train_start(self) -> None:
        """Put the user's SIGTERM handler back: Lightning's would finish the batch and exit with 0."""
        self._restore_sigterm()
        if self._loader is not None:
            self.hooks.track_position(self._position)

    def _position(self) -> tuple[int, Any] | None:
        if self.trainer.is_last_batch:  # what follows needs nothing of the loader
            return self.trainer.fit_loop.batch_idx + 1, None
        position = self._loader.position() if self._loader is not None else None
        return None if position is None else (self.trainer.fit_loop.batch_idx + 1, position)

    def on_test_start(self) -> None:
        """As `on_train_start`; and a test epoch begins."""
        self._restore_sigterm()
        self._tested = False
        self._with_outer_grad_mode(self.hooks.start_epoch)

    def _restore_sigterm(self) -> None:
        if threading.current_thread() is threading.main_thread() and self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)

    # A training batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Unpack the batch as zae-engine does, and move it."""
        if batch is None:
            return None
        moved = self.hooks.to_device(batch)
        return _NO_BATCH if moved is None else moved

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Follow the user where the optimizer has been replaced since the batch before."""
        self._sync_optimizer()

    def _sync_optimizer(self) -> bool:
        if self.hooks.torch_optimizer is self._optimizer:
            return False
        self._optimizer = self.hooks.torch_optimizer
        self.trainer.optimizers = [self._optimizer] if self._optimizer is not None else []
        return True

    @propagate_stop_iteration
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any] | None:
        """Run ``train_step``; Lightning goes on with backward, clipping and the optimizer's step."""
        batch = None if batch is _NO_BATCH else batch
        scale = self.hooks.begin_batch(batch_idx)
        if self.hooks.mode == "test":  # switched in the middle of the epoch
            self._step = self.hooks.test_forward(batch)
            return None
        first_to_accumulate = batch_idx % self.trainer.accumulate_grad_batches == 0
        self._step = self.hooks.train_forward(batch, zero_grad=first_to_accumulate)
        output = dict(self._step)
        if scale != 1.0:
            output["loss"] = output["loss"] * scale
        return output

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Go back from the loss; the strategy averages the gradients over the ranks, and nobody else."""
        self.hooks.backward(lambda: super(AutomaticOptimizationModule, self).backward(loss, *args, **kwargs))

    # Lightning passes over a hook that is None, and calling one costs it some microseconds at every step.
    on_before_zero_grad: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
    optimizer_zero_grad: Any = None  # cleared before train_step, which may call backward by itself

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip as ``gradient_clip`` says, and as a ``gradient_clip_val`` given to Lightning says."""
        self.hooks.clip_gradients()
        if self.trainer.gradient_clip_val is not None:
            super().configure_gradient_clipping(optimizer, *args, **kwargs)

    @propagate_stop_iteration
    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Let Lightning train the batch, then log it, before any callback sees the end of the batch."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._log_step_once()

    @propagate_stop_iteration
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log a batch whose gradients were only accumulated, and count."""
        self._log_step_once()
        if not self._tuning:
            is_whole_step = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
            self.hooks.batch_done(batch, is_step=is_whole_step and not self.trainer.is_last_batch)
            if self._loader is None:
                self._log_step(outputs)

    def _log_step_once(self) -> None:
        if self._step is not None:
            step, self._step = self._step, None
            if not self._tuning:
                self.hooks.log_step(step)

    # A test batch. Lightning runs all of validation and testing without gradients; zae-engine only test_step.

    @propagate_stop_iteration
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any] | None:
        """Run ``test_step`` and log it; pass over a ``None`` batch."""
        self.hooks.begin_batch(batch_idx)
        return None if batch is None else self._with_outer_grad_mode(self._test, None if batch is _NO_BATCH else batch)

    def _test(self, batch: Any) -> dict[str, Any] | None:
        if self.hooks.mode == "train" and not self._is_dry_run:  # switched in the middle of the epoch
            self.hooks.run_batch_outside_loop(batch)
            return None
        step_dict = self.hooks.test_forward(batch)
        if not self._is_dry_run:
            self.hooks.log_step(step_dict)
        return dict(step_dict) if isinstance(step_dict, Mapping) else None

    @propagate_stop_iteration
    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count."""
        if not self._is_dry_run:
            self._with_outer_grad_mode(self.hooks.batch_done, batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any] | None:
        """As `validation_step`."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As `on_validation_batch_end`."""
        self.on_validation_batch_end(outputs, batch, batch_idx)

    def _with_outer_grad_mode(self, function: Callable[..., Any], *args: Any) -> Any:
        with torch.set_grad_enabled(self.hooks.grad_enabled):
            return function(*args)

    # The epochs

    @propagate_stop_iteration
    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""
        if self._loader is not None:
            self._loader.begin_epoch()
        if not self._tuning:
            self.hooks.start_epoch()

    @property
    def _is_dry_run(self) -> bool:
        """Whether this is none of the run: a sanity check, or a callback that tries something before it."""
        return self._tuning or bool(self.trainer.sanity_checking)

    @propagate_stop_iteration
    def on_validation_model_zero_grad(self) -> None:
        """Validation begins: the last hook before Lightning draws from the validation loader.

        The gradients stay, as in zae-engine.
        """
        if not self._is_dry_run:
            self._start_validation()

    def _start_validation(self) -> None:
        training_over = self.trainer.is_last_batch
        if training_over:
            self._run_remaining_batches(self._loader)
        self.hooks.start_validation(training_over)
        self._update_callback_metrics(at_end=False)

    def _update_callback_metrics(self, at_end: bool = True) -> None:
        """Let callbacks know what the epochs have come to."""
        values = tensors(self.hooks.results)
        self.trainer.callback_metrics.update(values)
        if self._loader is None and at_end:  # the user's own L.Trainer has loggers, and returns what was logged
            self.log_dict(values)

    def finish_training(self) -> None:
        """Training is over for this epoch; called before other callbacks hear of it, and again after them."""
        self._run_remaining_batches(self._loader)
        self.hooks.finish_training()
        self._update_callback_metrics(at_end=False)

    @propagate_stop_iteration
    def on_validation_start(self) -> None:
        """Validation begins, also where Lightning left out the hook above (while gradients accumulate)."""
        if self.trainer.state.fn == "validate":  # L.Trainer.validate, which is a test epoch to zae-engine
            self.on_test_start()
        elif not self._is_dry_run:
            self._with_outer_grad_mode(self._start_validation)

    @propagate_stop_iteration
    def on_validation_epoch_end(self) -> None:
        """Validation is over."""
        if self.trainer.state.fn == "validate":
            self.on_test_epoch_end()
        elif not self._is_dry_run:
            self._with_outer_grad_mode(self._run_remaining_batches, self._valid_loader)
            self._with_outer_grad_mode(self.hooks.finish_validation)
            self._update_callback_metrics()

    @propagate_stop_iteration
    def on_train_epoch_end(self) -> None:
        """The epoch is over, validation included."""
        if not self._tuning:
            self._run_remaining_batches(self._loader)
            self.hooks.finish_epoch()
            self._update_callback_metrics()

    @propagate_stop_iteration
    def on_test_epoch_end(self) -> None:
        """A test epoch is over."""
        if not self._tested:
            self._tested = True
            self._with_outer_grad_mode(self._run_remaining_batches, self._loader)
            self._with_outer_grad_mode(self.hooks.finish_epoch)
            self._update_callback_metrics()

    def _run_remaining_batches(self, loader: DataLoaderWrapper | None) -> None:
        """Run the batches that a loader has beyond its length, which Lightning does not."""
        for batch in loader.remaining() if loader is not None else ():
            if batch is not None:
                self.hooks.run_batch_outside_loop(batch)
            self.hooks.batch_done(batch)

    # Left to the steps, which set the model's mode at every batch and clear gradients themselves

    def on_validation_model_eval(self) -> None:
        """Do nothing."""

    def on_validation_model_train(self) -> None:
        """Do nothing, but after a sanity check, or Lightning would warn of a model that is left in eval mode."""
        if self.trainer.sanity_checking:
            self.model.train()

    def on_test_model_eval(self) -> None:
        """Do nothing."""

    def on_test_model_train(self) -> None:
        """Do nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: Lightning clears all gradients when a run starts, zae-engine those of the optimizer per batch."""
