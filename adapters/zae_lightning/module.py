"""Generated module: each of Lightning's hooks calls a zae-engine hook.

This file shows what Lightning does with a zae-engine trainer. `AutomaticOptimizationModule` runs a trainer that
overrides ``train_step`` and ``test_step`` only; ``manual_module.py`` runs one that overrides ``run_batch``. Both hold
the user's model as ``self.model`` and reach the trainer through `Hooks`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from .base_module import ScalarTensors
from .callbacks.epoch_results import EpochResultsCallback, ProgressBarMetrics
from .dataloader import DataLoaderWrapper
from .exceptions import propagate_stop_iteration
from .lightning_rules import LightningRules
from .protocol import Hooks
from .step_metrics import StepMetrics

_NONE_BATCH = object()  # a batch that unpacks to None, such as [None]; Lightning skips a batch that is None itself


class AutomaticOptimizationModule(LightningRules):
    """Runs ``train_step`` and ``test_step`` with Lightning's automatic optimization.

    Parameters
    ----------
    hooks : Hooks
        The run's hooks.
    loader, valid_loader : DataLoaderWrapper or None
        The loaders that Lightning iterates; None for the user's ``L.Trainer``, whose ``fit`` receives the loaders.
    """

    has_known_hooks = True  # not of a subclass; see performance/training_loop.py

    def __init__(self, hooks: Hooks, loader: DataLoaderWrapper | None, valid_loader: DataLoaderWrapper | None) -> None:
        super().__init__()
        self.hooks = hooks
        self.model = hooks.model
        self._loader, self._valid_loader = loader, valid_loader
        self._step: Mapping[str, Any] | None = None
        self._step_metrics = StepMetrics()
        self._tensors = ScalarTensors()
        self._optimizer: Any = None
        self._schedulers: list[Any] = []
        self._is_test_finished = self._is_tuning = self._is_in_external_trainer = False
        self._logged: set[str] = set()
        self._sigterm_handler = signal.getsignal(signal.SIGTERM)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set plain values directly.

        Lightning sets ``_current_fx_name`` forty times a step, and `torch.nn.Module` inspects every value, which takes
        2 µs. The name is private to Lightning; tests/unit/zae_lightning/test_module.py fails if it changes.
        """
        if name == "_current_fx_name" or ((value is None or type(value) is dict) and name in self.__dict__):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # In the user's L.Trainer, setup and teardown start and end the hooks; otherwise the run does.

    def setup(self, stage: str) -> None:
        """Start the hooks in the user's ``L.Trainer``."""
        self._is_tuning = stage == "fit"  # callbacks such as the learning rate finder run the loop before the fit
        if self._loader is None and not self._is_in_external_trainer:
            self._is_in_external_trainer = True
            has_bar = self.trainer.progress_bar_callback is not None
            is_trial = bool(self.trainer.fast_dev_run)
            self.hooks.enter_external_trainer("train" if stage == "fit" else "test", has_bar, is_trial)
            self.model = self.hooks.model  # the user may have set another one
            bar_metrics = [ProgressBarMetrics()] if has_bar else []
            self.trainer.callbacks = [EpochResultsCallback(), *bar_metrics, *self.trainer.callbacks]
        self._keeps_gradients = True  # Lightning clears all gradients at the start of a run
        self.hooks.enter_loop()

    @property
    def is_in_external_trainer(self) -> bool:
        """Whether the user's ``L.Trainer`` runs the module."""
        return self._is_in_external_trainer

    def teardown(self, stage: str) -> None:
        """End the hooks in the user's ``L.Trainer``; an exception ends them too."""
        self._keeps_gradients = False
        if not self._is_in_external_trainer:
            self.restore_gradients()
        self._end_hooks(None)

    def _end_hooks(self, error: BaseException | None) -> None:
        if self._is_in_external_trainer:
            self._is_in_external_trainer = False
            own = (EpochResultsCallback, ProgressBarMetrics)
            others = [callback for callback in self.trainer.callbacks if not isinstance(callback, own)]
            self.trainer.callbacks = others
            self.hooks.__exit__(type(error), error, None)
            self._returns_records = isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher)

    def configure_callbacks(self) -> list[Any]:
        """Return a callback that ends the hooks when an exception ends the user's ``L.Trainer``."""
        return (
            [LambdaCallback(on_exception=lambda _, __, error: self._end_hooks(error))] if self._loader is None else []
        )

    # The hooks step the user's scheduler when zae-engine does. Lightning receives it for callbacks and checkpoints.

    def configure_optimizers(self) -> Any:
        """Return the user's optimizer and scheduler, as far as they are torch's."""
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
        """Step a scheduler that a callback has installed; the hooks step the user's scheduler."""
        if not any(scheduler is own for own in self._schedulers):
            super().lr_scheduler_step(scheduler, metric)

    def on_fit_start(self) -> None:
        """End the tuning by callbacks: Lightning calls this hook after those of all callbacks."""
        self._is_tuning = False
        checkpoint = None if self._is_in_external_trainer else self.hooks.checkpoint()
        if self._optimizer is not None and checkpoint is not None and checkpoint.get("optimizer_is_pending"):
            self._optimizer.load_state_dict(checkpoint["optimizer_states"][0])  # callbacks have added its groups
        self.hooks.exclude_from_averaging(self.parameters())

    # Lightning's checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the trainer's part: progress, best loss and weights, history, random states."""
        checkpoint["zae_engine"] = self.hooks.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the trainer's part when Lightning loads a checkpoint to fit, as the user's ``L.Trainer`` does."""
        is_fit = self._trainer is None or self._trainer.state.fn == "fit"  # a test changes the weights alone
        if "zae_engine" in checkpoint and is_fit:
            self.hooks.load_state_dict(checkpoint["zae_engine"])

    def on_train_start(self) -> None:
        """Restore the user's SIGTERM handler: Lightning's handler finishes the batch and exits with 0."""
        self._restore_sigterm_handler()
        self.see_callbacks()
        if self._loader is not None:
            self.hooks.track_position(self._position)
        else:
            self.hooks.validates_elsewhere = bool(self.trainer.enable_validation)

    def _position(self) -> tuple[int, Any] | None:
        if self.trainer.is_last_batch:  # the rest of the epoch does not use the loader
            return self.trainer.fit_loop.batch_idx + 1, None
        position = self._loader.position() if self._loader is not None else None
        return None if position is None else (self.trainer.fit_loop.batch_idx + 1, position)

    def on_test_start(self) -> None:
        """Start a test epoch, with the user's SIGTERM handler."""
        self._restore_sigterm_handler()
        self._is_test_finished = False
        self._with_outer_grad_mode(self.hooks.start_epoch)

    def _restore_sigterm_handler(self) -> None:
        if threading.current_thread() is threading.main_thread() and self._sigterm_handler is not None:
            signal.signal(signal.SIGTERM, self._sigterm_handler)

    # A training batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Unpack and move the batch as zae-engine does; callbacks, if any, receive it as the loader gives it."""
        if batch is None:
            return None
        if self.hooks.follows_lightning:
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        moved = self.hooks.to_device(batch)
        return _NONE_BATCH if moved is None else moved

    def unpack(self, batch: Any) -> Any:
        """Return a batch as the steps receive it, after callbacks may have changed it."""
        if batch is None or batch is _NONE_BATCH:
            return None
        return self.hooks.to_device(batch) if self.hooks.follows_lightning else batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Pass an optimizer that the user has replaced since the previous batch to Lightning, and one of a callback."""
        self._sync_optimizer()

    def _sync_optimizer(self) -> bool:
        if self.hooks.torch_optimizer is self._optimizer:
            self.adopt_optimizer()
            return False
        self._optimizer = self.hooks.torch_optimizer
        self.trainer.optimizers = [self._optimizer] if self._optimizer is not None else []
        self.note_optimizer()
        return True

    @propagate_stop_iteration
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any] | None:
        """Run ``train_step``; Lightning continues with backward, clipping and the optimizer's step."""
        scale = self.hooks.begin_batch(batch_idx)
        batch = self.unpack(batch)
        if self.hooks.mode == "test":  # the user has switched the mode in the middle of the epoch
            self._step = self.hooks.call_test_step(batch)
            return None
        first_to_accumulate = batch_idx % self.trainer.accumulate_grad_batches == 0
        self._step = self.call_train_step(batch, zero_grad=first_to_accumulate)
        if self.hooks.follows_lightning:
            self._step_metrics.update(self.trainer, self._step)
        output = dict(self._step)
        if scale != 1.0:
            output["loss"] = output["loss"] * scale
        return output

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass; only the strategy averages the gradients over the ranks."""
        self.hooks.backward(lambda: super(AutomaticOptimizationModule, self).backward(loss, *args, **kwargs))

    # Lightning skips a hook that is None; calling one costs some microseconds a step.
    on_before_zero_grad: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip the gradients by ``gradient_clip``, and by Lightning's ``gradient_clip_val`` if the user gave it."""
        self.hooks.clip_gradients()
        if self.trainer.gradient_clip_val is not None:
            super().configure_gradient_clipping(optimizer, *args, **kwargs)

    @propagate_stop_iteration
    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Train the batch in Lightning, then log it before callbacks receive the end of the batch."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.log_step_once()

    @propagate_stop_iteration
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch, and log it if its gradients were only accumulated."""
        self.log_step_once(is_update=False)
        if not self._is_tuning:
            is_whole_step = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
            self.hooks.batch_done(batch, is_step=is_whole_step and not self.trainer.is_last_batch)
            if self._loader is None and (is_whole_step or self.trainer.is_last_batch):
                self._log_step(outputs)

    def log_step_once(self, is_update: bool = True) -> None:
        """Log the step of the current batch, unless it has been logged; not while a callback tunes a value."""
        if self._step is not None:
            step, self._step = self._step, None
            if not self._is_tuning:
                self.hooks.log_step(step, is_update)

    # A test batch. Lightning disables gradients for all of validation and testing, zae-engine for test_step only.

    @propagate_stop_iteration
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int | None = None) -> dict[str, Any] | None:
        """Run ``test_step`` and log it, also for its loader where there are several; skip a batch that is None."""
        self.hooks.begin_batch(batch_idx)
        if batch is None:
            return None
        output: dict[str, Any] | None = self._with_outer_grad_mode(self._test, batch)
        if dataloader_idx is not None and output is not None and not self._is_dry_run:
            self.hooks.loader_results.add(dataloader_idx, output, self.hooks.logged_size)
        return output

    def _test(self, batch: Any) -> dict[str, Any] | None:
        if self.hooks.mode == "train" and not self._is_dry_run:  # the user has switched the mode during the epoch
            self.hooks.run_batch_outside_loop(None if batch is _NONE_BATCH else batch)
            return None
        step_dict = self.hooks.call_test_step(self.unpack(batch))
        if not self._is_dry_run:
            self.hooks.log_step(step_dict)
        return dict(step_dict) if isinstance(step_dict, Mapping) else None

    @propagate_stop_iteration
    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count the batch."""
        if not self._is_dry_run:
            self._with_outer_grad_mode(self.hooks.batch_done, batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int | None = None) -> dict[str, Any] | None:
        """Run `validation_step`."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Run `on_validation_batch_end`."""
        self.on_validation_batch_end(outputs, batch, batch_idx)

    def _with_outer_grad_mode(self, function: Callable[..., Any], *args: Any) -> Any:
        with torch.set_grad_enabled(self.hooks.grad_enabled):
            return function(*args)

    # The epochs

    @propagate_stop_iteration
    def on_train_epoch_start(self) -> None:
        """Start a training epoch."""
        if self._loader is not None:
            self._loader.begin_epoch()
        if not self._is_tuning:
            self.hooks.start_epoch()
        self.see_schedulers()

    @property
    def _is_dry_run(self) -> bool:
        """Whether the batches are not part of the run: in a sanity check, or while a callback tunes a value."""
        return self._is_tuning or bool(self.trainer.sanity_checking)

    @propagate_stop_iteration
    def on_validation_model_zero_grad(self) -> None:
        """Start validation, and keep the gradients as zae-engine does, unless a Lightning part is in play.

        This is the last hook before Lightning iterates the validation loader.
        """
        if not self._is_dry_run:
            self._start_validation()
        self.clear_before_validation()

    def _start_validation(self) -> None:
        training_over = self.trainer.is_last_batch
        if training_over:
            self._run_remaining_batches(self._loader)
        self.hooks.start_validation(training_over)
        self._update_callback_metrics(at_end=False)

    def _update_callback_metrics(self, at_end: bool = True) -> None:
        """Write the results of the epochs into ``callback_metrics``."""
        values = self._tensors.of(self._step_metrics.without_latest(self.hooks.results))
        logged = self._logged if self._loader is None else ()  # over all ranks
        self.trainer.callback_metrics.update({name: value for name, value in values.items() if name not in logged})
        if self._loader is None and at_end:  # the user's L.Trainer has loggers, and returns the logged values
            self._log_results({name: value for name, value in values.items() if "/dataloader_idx_" not in name})

    def _log_results(self, values: dict[str, torch.Tensor]) -> None:
        """Log the results of a phase, each once: those of a validation are logged when it ends."""
        is_validation = self._current_fx_name == "on_validation_epoch_end" and self.trainer.state.fn == "fit"
        if is_validation:
            values = {name: value for name, value in values.items() if not name.startswith("train_")}
        new = {name: value for name, value in values.items() if is_validation or name not in self._logged}
        self.log_dict(new, sync_dist=self.trainer.world_size > 1)
        self._logged = set(values) if is_validation else set()

    def finish_training(self) -> None:
        """Finish the training phase of an epoch: called before other callbacks read its results, and after them."""
        self._run_remaining_batches(self._loader)
        self.hooks.finish_training()
        self._step_metrics.clear()
        self._update_callback_metrics(at_end=False)

    @propagate_stop_iteration
    def on_validation_start(self) -> None:
        """Start validation where Lightning skips `on_validation_model_zero_grad`: while gradients accumulate."""
        if self.trainer.state.fn == "validate":  # L.Trainer.validate is a test epoch of zae-engine
            self.on_test_start()
        elif not self._is_dry_run:
            self._with_outer_grad_mode(self._start_validation)

    @propagate_stop_iteration
    def on_validation_epoch_end(self) -> None:
        """Finish validation."""
        if self.trainer.state.fn == "validate":
            self.on_test_epoch_end()
        elif not self._is_dry_run:
            self._with_outer_grad_mode(self._run_remaining_batches, self._valid_loader)
            self._with_outer_grad_mode(self.hooks.finish_validation)
            self._update_callback_metrics()

    @propagate_stop_iteration
    def on_train_epoch_end(self) -> None:
        """Finish the epoch, after its validation."""
        if not self._is_tuning:
            self._run_remaining_batches(self._loader)
            self.hooks.finish_epoch()
            self._step_metrics.clear()
            self._update_callback_metrics()

    @propagate_stop_iteration
    def on_test_epoch_end(self) -> None:
        """Finish a test epoch."""
        if not self._is_test_finished:
            self._is_test_finished = True
            self._with_outer_grad_mode(self._run_remaining_batches, self._loader)
            self._with_outer_grad_mode(self.hooks.finish_epoch, self.trainer.state.fn == "validate")
            self._update_callback_metrics()

    def _run_remaining_batches(self, loader: DataLoaderWrapper | None) -> None:
        """Run the batches that a loader yields beyond its length; Lightning ignores them."""
        for batch in loader.remaining() if loader is not None else ():
            if batch is not None:
                self.hooks.run_batch_outside_loop(batch)
            self.hooks.batch_done(batch)
