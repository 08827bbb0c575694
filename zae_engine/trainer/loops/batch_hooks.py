"""Batch hooks: what Lightning asks of a trainer for every batch, and what begins and ends with a run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .._protocol import TrainerProtocol
from .._state import RunDisplay
from ..checkpoint.encoding import decode, encode
from ..checkpoint.trainer_state import load_trainer_state_dict, random_states, trainer_state_dict
from ..data.loaders import with_batch_size
from ..display.progress_display import ProgressDisplay
from ..distributed.gradients import GradientAveraging
from ..distributed.log_merging import BatchShare
from ..distributed.parameters import TrainableParameters
from ..logs.epoch_results import to_floats
from ..logs.loader_results import LoaderResults
from ..optim import clip_gradients, is_torch_optimizer, learning_rate, set_optimizer_mode
from ..overrides import is_overridden
from ..utilities.exceptions import keep_exception
from ..utilities.hidden_frames import hide_frames
from ..utilities.lightning_kinds import has_progress_bar
from ..utilities.safe_stream import usable_stderr
from . import batch as steps
from .lightning_parts import has_lightning_parts
from .loggers import log_hyperparams, save_loggers
from .phase import Phase
from .prediction import predict_batch
from .sharding_hooks import ShardingHooks
from .step_notes import note_batch

if TYPE_CHECKING:
    from typing_extensions import Self


class BatchHooks(ShardingHooks):
    """The hooks of every batch, shared by `EpochHooks` and `FitHooks`; the generated module calls them.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer.
    loader : iterable of batches
        The training or test loader.
    kwargs : mapping
        The extra arguments of `run` or `run_epoch`; `run_batch` and the scheduler's step receive them.
    """

    display: RunDisplay
    _training: Phase | None = None
    _validation: Phase | None = None
    monitor_deferral: str = "none"
    scheduler_is_replaced: bool = False
    """Whether a callback has put another scheduler in the place of the user's."""
    validates_elsewhere: bool = False
    """Whether the user's ``L.Trainer`` has validation data."""

    def __init__(self, trainer: TrainerProtocol, loader: Any, kwargs: Mapping[str, Any]) -> None:
        self.trainer = trainer
        self.loader = loader
        self.valid_loader: Any = None
        self.kwargs = kwargs
        self.grad_enabled = torch.is_grad_enabled()
        self.results: dict[str, float] = {}
        self.loader_results = LoaderResults()
        self._outer_display = trainer._zae_state.run.display  # of the run that contains this epoch
        self._outer_mode: Any = None  # of a trainer within an ``L.Trainer`` of the user's own
        self._guards_interrupts = True
        given = trainer._zae_state.config.trainer_kwargs
        self._has_bar, self._is_trial = has_progress_bar(trainer.callbacks, given), bool(given.get("fast_dev_run"))
        self._follows_lightning = has_lightning_parts(trainer)

    def __deepcopy__(self, memo: Any) -> Self:
        """Return the hooks themselves: a callback that copies an object with a reference to them copies no trainer."""
        return self

    # The trainer, as the module reads it

    @property
    def model(self) -> Any:
        """The user's model; a callback may set another one, such as a wrapper."""
        return self.trainer.model

    @model.setter
    def model(self, value: Any) -> None:
        self.trainer.model = value

    @property
    def mode(self) -> str:
        """The trainer's mode."""
        return self.trainer.mode

    @property
    def follows_lightning(self) -> bool:
        """Whether a Lightning part is in play; see `has_lightning_parts`. An ``L.Trainer`` of the user's is one."""
        return self._follows_lightning

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer | None:
        """The user's optimizer, if it is a torch optimizer and not an object that only looks like one."""
        optimizer = self.trainer.optimizer
        return optimizer if is_torch_optimizer(optimizer) else None

    @torch_optimizer.setter
    def torch_optimizer(self, value: torch.optim.Optimizer) -> None:
        self.trainer.optimizer = value

    @property
    def torch_scheduler(self) -> Any:
        """The user's scheduler, if it is a torch scheduler of the user's optimizer."""
        scheduler, optimizer = self.trainer.scheduler, self.trainer.optimizer
        is_torch_scheduler = isinstance(scheduler, (LRScheduler, ReduceLROnPlateau))
        return scheduler if is_torch_scheduler and getattr(scheduler, "optimizer", None) is optimizer else None

    @property
    def scheduler_interval(self) -> str:
        """``"step"`` if the scheduler steps per batch, ``"epoch"`` otherwise."""
        return "step" if self.trainer.scheduler_step_on_batch else "epoch"

    @property
    def uses_manual_optimization(self) -> bool:
        """Whether ``run_batch`` does all of a batch: it is overridden, or the optimizer is no torch optimizer."""
        return is_overridden(self.trainer, "run_batch") or (
            self.trainer.mode == "train" and self.torch_optimizer is None
        )

    @property
    def batch_size(self) -> int | None:
        """The batch size of the loader; setting it replaces the loader by a copy with that batch size."""
        loader = self.loader if self.loader is not None else self.trainer.loader  # the user's L.Trainer asks early
        return getattr(loader, "batch_size", None)

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.loader = self.trainer.loader = with_batch_size(self.loader, value)
        self.trainer.batch_size = value

    @property
    def active_loader(self) -> Any:
        """The loader that the current batch comes from."""
        return self.loader

    def to_floats(self, step_dict: Any) -> dict[str, float]:
        """Return what loggers receive of a step: its scalars, and the learning rate."""
        values = to_floats(step_dict) if isinstance(step_dict, Mapping) else {}
        lr = learning_rate(self.trainer.optimizer)
        return values if lr is None else {"lr": lr, **values}

    def means(self) -> dict[str, float]:
        """Return the running means of the current phase, as the bar shows them."""
        return self.display.means()

    # Checkpoints

    def checkpoint(self) -> Mapping[str, Any] | None:
        """Return the loaded checkpoint that the callbacks of this run take up, or None."""
        checkpoint: Mapping[str, Any] | None = (self.trainer._zae_state.records.pending_restore or {}).get("checkpoint")
        return checkpoint

    def state_dict(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, plain values."""
        return self.whole({**trainer_state_dict(self.trainer), "random": encode(random_states(self.trainer))})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the trainer's part of a checkpoint; Lightning finishes the epoch itself."""
        load_trainer_state_dict(self.trainer, {**state, "ending": None})

    def records(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, with optimizer and scheduler, for another process."""
        parts = {"optimizer": self.torch_optimizer, "scheduler": self.torch_scheduler}
        states = {name: encode(part.state_dict()) for name, part in parts.items() if part is not None}
        return {"trainer": trainer_state_dict(self.trainer), **states}

    def load_records(self, records: Mapping[str, Any]) -> None:
        """Restore what `records` returned; the random states of this process stay."""
        load_trainer_state_dict(self.trainer, {**records["trainer"], "ending": None})
        for name, part in (("optimizer", self.torch_optimizer), ("scheduler", self.torch_scheduler)):
            if part is not None and name in records:
                part.load_state_dict(decode(records[name]))

    def begin_batch(self, step: int) -> float:
        """Select a batch of the epoch, and return the factor for its loss: its share of the samples of all ranks."""
        state = self.trainer._zae_state
        state.process.interrupts.resume()  # where nothing was logged, as by a tuner
        world = state.process.world
        if world is None:
            return 1.0
        if hasattr(self.active_loader, "share_of"):
            world.log_tracker.share = self.active_loader.share_of(step)
        else:
            world.log_tracker.share = BatchShare(step, 1.0 / world.data_size)
        if state.run.gradient_averaging is not None and self.trainer.mode == "train":
            state.run.gradient_averaging.refresh(search=step == 0)
        return self._gradient_scale()

    def _gradient_scale(self) -> float:
        world = self.trainer._zae_state.process.world
        return 1.0 if world is None or (share := world.log_tracker.share) is None else share.weight * world.data_size

    def to_device(self, batch: Any) -> Any:
        """Return the batch as the steps receive it."""
        return steps.to_device(self.trainer, batch)

    def call_train_step(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run ``train_step`` on a moved batch."""
        if self._modes is None:
            return steps.call_train_step(self.trainer, batch, zero_grad)
        with self.user_code():
            return steps.call_train_step(self.trainer, batch, zero_grad)

    def call_test_step(self, batch: Any) -> Any:
        """Run ``test_step`` on a moved batch."""
        with self.user_code():
            return steps.call_test_step(self.trainer, batch)

    def predict_forward(self, batch: Any) -> Any:
        """Run ``predict_step`` on a batch of the loader, in the modes that Lightning has set."""
        return predict_batch(self.trainer, batch)

    def backward(self, backward: Callable[[], None]) -> None:
        """Call Lightning's backward; its strategy averages the gradients over the ranks."""
        averaging = self.trainer._zae_state.run.gradient_averaging
        if averaging is None:
            backward()
        else:
            averaging.refresh()  # the step may have unfrozen parameters
            with averaging.paused():
                backward()
        self.trainer._zae_state.process.interrupts.defer()  # until `log_step`

    def end_validation(self) -> None:
        """Switch an optimizer with modes back, after a validation and its callbacks."""
        set_optimizer_mode(self.trainer.optimizer, self.trainer.mode)

    @property
    def clips_gradients(self) -> bool:
        """Whether ``gradient_clip`` is set: the gradients of parameters outside the optimizer then count as well."""
        return bool(self.trainer.gradient_clip)

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip as the trainer's ``gradient_clip`` says; with ``if_due`` only if `Trainer.run_batch` has not."""
        batch = self.trainer._zae_state.batch
        if batch.clip_due or not if_due:
            clip_gradients(self.trainer.model, self.trainer.gradient_clip)
        batch.clip_due = False

    def log_step(self, step_dict: Mapping[str, Any], is_update: bool = True) -> None:
        """Log a step and count it; a per-batch scheduler steps only after an update of the weights."""
        batch, steps_scheduler = self.trainer._zae_state.batch, is_update and not self.scheduler_is_replaced
        batch.is_accumulated = not is_update
        try:
            if self._modes is None:
                steps.log_step(self.trainer, step_dict, self.kwargs, steps_scheduler)
            else:
                with self.user_code():
                    steps.log_step(self.trainer, step_dict, self.kwargs, steps_scheduler)
        finally:
            batch.is_accumulated = False

    def run_batch(self, batch: Any, backward: Any = None, step: Any = None) -> Mapping[str, Any]:
        """Call the trainer's ``run_batch``, and return what its step returned, if `Trainer.run_batch` ran it.

        ``backward`` and ``step`` replace ``loss.backward()`` and ``optimizer.step()`` there.
        """
        steps.note_size(self.trainer, batch)
        state, scale = self.trainer._zae_state.batch, self._gradient_scale()
        scaled = backward if backward is None or scale == 1.0 else lambda loss: backward(loss * scale)
        state.backward, state.optimizer_step, state.step_output = scaled, step, {}
        try:
            with self.user_code():
                self.trainer.run_batch(batch, **self.kwargs)
            return state.step_output or {}
        except Exception as error:
            note_batch(error, self.trainer, "run_batch", batch)
            raise
        finally:
            state.backward = state.optimizer_step = state.step_output = None

    @property
    def logged_size(self) -> Any:
        """The number of samples that the latest logged step counts as; None for means over batches."""
        return self.trainer._zae_state.batch.logged_size

    def run_batch_outside_loop(self, batch: Any) -> None:
        """Call the trainer's ``run_batch`` outside Lightning's loop; skip a ``None`` batch."""
        if batch is not None:
            steps.note_size(self.trainer, batch)
            with self._gradient_averaging(alone=True), self.user_code():
                self.trainer.run_batch(batch, **self.kwargs)

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """Count a batch of the loader; a ``None`` batch only moves the bar.

        ``is_step`` says that a training step is over which is not the last of its epoch: the run may stop here.
        """
        trainer, state = self.trainer, self.trainer._zae_state
        if batch is not None:
            trainer._data_count(initial=trainer.batch_size is None)
        self.display.batch_done(is_empty=batch is None)
        if state.records.pending_restore is not None and trainer.mode == "train":
            state.records.pending_restore = None  # the run has taken up all of it
        if is_step and state.run.sigterm is not None:
            state.run.sigterm.step_done()

    # Gradients of several processes

    def exclude_from_averaging(self, parameters: Iterable[torch.Tensor]) -> None:
        """Leave the gradients of these parameters to Lightning's strategy."""
        averaging = self.trainer._zae_state.run.gradient_averaging
        if averaging is not None:
            averaging.exclude(parameters)

    @contextmanager
    def _gradient_averaging(self, alone: bool = False) -> Iterator[None]:
        """Average gradients over the ranks, however they are computed; in a single process, do nothing."""
        trainer, run = self.trainer, self.trainer._zae_state.run
        if trainer._zae_state.process.world is None or run.gradient_averaging is not None or trainer.mode != "train":
            yield
            return
        all_passes = self.uses_manual_optimization or is_overridden(trainer, "run_epoch") or alone
        parameters = TrainableParameters(trainer)
        with GradientAveraging(parameters, self._gradient_scale, all_passes) as run.gradient_averaging:
            try:
                yield
            finally:
                run.gradient_averaging = None

    # Begin and end

    def __enter__(self) -> Self:
        state = self.trainer._zae_state
        self.display = self._make_display()
        state.run.depth += 1
        outer_trial, state.run.is_trial = state.run.is_trial, state.run.is_trial or self._is_trial
        if self.trainer.mode == "train":
            log_hyperparams(self.trainer)
        self._contexts = ExitStack()
        self._contexts.enter_context(usable_stderr())
        if self._guards_interrupts:
            self._contexts.enter_context(state.process.interrupts.installed())
        self._contexts.callback(self._close)
        self._contexts.callback(setattr, state.run, "is_trial", outer_trial)
        self._contexts.callback(save_loggers, self.trainer)
        world = state.process.world
        if world is not None and world.log_tracker.is_used:  # an epoch within another one, which continues afterwards
            self._contexts.callback(world.log_tracker.resume, world.log_tracker.pause(cleared=True))
        self._contexts.enter_context(self._gradient_averaging())
        return self

    def enter_external_trainer(self, mode: Any, has_bar: bool = False, is_trial: bool = False) -> None:
        """Begin, in an ``L.Trainer`` of the user's own that runs in this mode; `__exit__` restores the mode."""
        self._has_bar, self._is_trial = has_bar, is_trial
        self.loader, self.valid_loader = self.trainer.loader, self.trainer.valid_loader
        self.results.clear()  # one module serves several calls
        self._guards_interrupts = False  # Lightning restores the signal handler only after this module has ended
        self._follows_lightning = True
        outer_mode = self.trainer.mode
        self.trainer.toggle(mode)
        self.__enter__()
        self._outer_mode = outer_mode

    def __exit__(self, kind: object, error: BaseException | None, traceback: Any) -> None:
        hide_frames(traceback)
        if self._outer_mode is not None:
            self.trainer.mode = self._outer_mode
        try:
            with keep_exception(error):
                self._contexts.close()
        finally:
            self._release_trainer()

    def _make_display(self) -> RunDisplay:
        return self._outer_display or ProgressDisplay(self.trainer, shows=not self._has_bar)

    def _close(self) -> None:
        self._leave_loop(keeps_users=self._outer_mode is None)
        self.trainer._zae_state.batch.size = None
        self.trainer._zae_state.run.depth -= 1
        if not self.trainer._zae_state.run.depth:
            set_optimizer_mode(self.trainer.optimizer, "test")  # the weights are those to evaluate and save
        if self.display is not self._outer_display:
            self.display.close()

    def _release_trainer(self) -> None:
        """Release what belongs to the run.

        Lightning's trainer of a `run` keeps these hooks, and the trainer keeps that one, so that the reference to the
        trainer becomes weak. The module for an ``L.Trainer`` of the user's own keeps its trainer alive.
        """
        del self.display, self._contexts
        self._training = self._validation = self._outer_display = None
        if self._outer_mode is None:
            self.trainer = weakref.proxy(self.trainer)
        self._outer_mode = None
