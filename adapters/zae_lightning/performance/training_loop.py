"""Training loop: the batches of an epoch, without the calls in which nothing happens.

Lightning looks up and wraps some forty hooks a step: those of the module, the strategy, the precision and of each
callback, each with a profiler's context and a debug line. For a module of this package nearly all of them are empty.
The loop here does what Lightning's does, in the same order and with the same counts, and calls what is implemented.

It runs a batch where that is known to be equal: a module of this package in `Trainer.run`, one process or several with
Lightning's DDPStrategy, no data module, no profiler, no accumulation. Everything else runs in Lightning's loop,
untouched. The choice is made for every batch, since a callback may change callbacks, strategy or hooks at any time.

The names used here are private to Lightning; tests/unit/zae_lightning/performance/test_training_loop.py fails if they
or the functions behind them change. Where one is missing, Lightning's loop runs.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from lightning.pytorch.loops.optimization.manual import ManualResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer import call
from lightning.pytorch.utilities.combined_loader import _MaxSizeCycle

from ..closures import requires_closure
from ..exceptions import propagate_stop_iteration
from ..strategies import is_own_method
from .callback_calls import CallbackCalls
from .precision import PlainMixedPrecision, PlainPrecision
from .profiler import NullProfiler

_log = logging.getLogger(__name__)


class StepPlan:
    """What a batch needs, read once while nothing of it changes.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        The trainer.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.strategy, self.module, self.profiler = trainer.strategy, trainer.lightning_module, trainer.profiler
        self.precision = self.strategy.precision_plugin
        self.device = self.strategy.root_device
        self.connector = trainer._logger_connector
        self.calls = CallbackCalls(trainer, self.module)
        self.is_distributed = type(self.strategy) is DDPStrategy
        self.is_full_precision = type(self.precision) is PlainPrecision  # its contexts do nothing
        self._sizes = self._count_attributes()

    def is_current(self) -> bool:
        """Whether nothing has been replaced since."""
        trainer, strategy = self._trainer, self.strategy
        return (
            trainer.strategy is strategy
            and strategy._lightning_module is self.module
            and strategy._precision_plugin is self.precision
            and trainer.profiler is self.profiler
            and self._count_attributes() == self._sizes
        )

    def _count_attributes(self) -> tuple[int, int, int]:
        """Return how many attributes the objects have; one more may be a hook."""
        return len(self.module.__dict__), len(self.strategy.__dict__), len(self.precision.__dict__)

    def train(self, batch: Any, batch_idx: int) -> Any:
        """Run the module's step; in several processes through the model that averages the gradients."""
        if self.is_distributed:
            return self.strategy.training_step(batch, batch_idx)
        if self.is_full_precision:
            return self.module.training_step(batch, batch_idx)
        with self.precision.train_step_context():
            return self.module.training_step(batch, batch_idx)

    def begin_batch(self, batch: Any, results: Any) -> None:
        """Do what Lightning's ``on_batch_start`` does for the values that hooks log."""
        self.connector._first_loop_iter = self.connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None

    def end_batch(self, results: Any) -> None:
        """Do what Lightning's ``on_batch_end`` does; there are ``results`` only if a hook has logged something."""
        if results:
            self.connector.on_batch_end()
        else:
            results.batch = results.batch_size = None

    def is_known(self) -> bool:
        """Whether strategy, precision, profiler and module are those of this package's runs, and none is modified."""
        return (
            (type(self.strategy) is SingleDeviceStrategy or self._is_plain_ddp())
            and type(self.precision) in (PlainPrecision, PlainMixedPrecision)
            and type(self.profiler) is NullProfiler
            and vars(type(self.module)).get("has_known_hooks", False)
            and not _has_own_methods(self.module)
            and not _has_own_methods(self.strategy)
            and not _has_own_methods(self.precision)
            and self._trainer.datamodule is None
            and not call.log.isEnabledFor(logging.DEBUG)
        )

    def _is_plain_ddp(self) -> bool:
        """Whether DDP averages the gradients of every step, and nothing else."""
        return self.is_distributed and self.strategy._model_averager is None


def _has_own_methods(instance: Any) -> bool:
    """Whether an attribute of an object hides a method of its class by another one."""
    return any(_hides_method(instance, name, value) for name, value in vars(instance).items())


def _hides_method(instance: Any, name: str, value: Any) -> bool:
    cls = type(instance)
    if not callable(value) or not hasattr(cls, name) or is_own_method(value):
        return False
    # DDP leaves the module's own ``forward`` there, which it replaces for the time of a step
    is_own = getattr(value, "__self__", None) is instance and value.__func__ is getattr(cls, name)
    return not is_own


def plan_for(trainer: Any) -> StepPlan | None:
    """Return the plan of a batch; None if only Lightning's loops can run it.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        The trainer.

    Returns
    -------
    StepPlan or None
        The plan.
    """
    try:
        plan = StepPlan(trainer)
        return plan if plan.is_known() else None
    except AttributeError as error:
        _log.debug("Lightning's own loops run, since a name of Lightning is missing: %s", error)
        return None


class PlanHolder:
    """The part of a loop that keeps the plan of its batches for a run.

    Lightning ends a run by ``teardown``. After an exception it ends one of its loops only.
    """

    _plan: StepPlan | None = None  # of the latest batch; None if Lightning's loop has run it

    def run(self, *args: Any) -> Any:
        """Run an epoch; an exception releases what its batches needed."""
        loop: Any = super()
        try:
            return loop.run(*args)
        except BaseException:
            self._plan = None
            raise

    def teardown(self) -> None:
        """End the run, and release what its batches needed."""
        loop: Any = super()
        self._plan = None
        loop.teardown()


class FastTrainingEpochLoop(PlanHolder, _TrainingEpochLoop):
    """The loop over the batches of a training epoch."""

    @property
    def done(self) -> bool:
        """Whether the epoch is over."""
        if self._plan is None or self.max_steps != -1 or self.restarting or self.trainer.should_stop:
            return super().done
        return self._num_ready_batches_reached()

    def advance(self, data_fetcher: Any) -> None:
        """Train a batch."""
        self._plan = self._current_plan(data_fetcher)
        if self._plan is None:
            super().advance(data_fetcher)
        else:
            self._advance(data_fetcher, self._plan)

    def _current_plan(self, data_fetcher: Any) -> StepPlan | None:
        trainer = self.trainer
        if self.restarting or trainer.accumulate_grad_batches != 1 or type(data_fetcher) is not _PrefetchDataFetcher:
            return None
        if self._plan is not None and self._plan.is_current():
            return self._plan
        return plan_for(trainer)

    def _advance(self, data_fetcher: Any, plan: StepPlan) -> None:
        """Do what Lightning's ``advance`` does."""
        trainer, module, calls, progress = self.trainer, plan.module, plan.calls, self.batch_progress
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        total: Any = progress.total
        current: Any = progress.current  # Lightning's `increment_ready` and its like count both
        batch = next_batch(data_fetcher)
        batch_idx = current.ready
        progress.is_last_batch = data_fetcher.done
        batch = module.transfer_batch_to_device(batch, plan.device, 0)
        total.ready += 1
        current.ready += 1
        plan.begin_batch(batch, self._results)
        outputs = None
        if batch is not None:
            if trainer.callbacks:  # asked before each hook: a call that does nothing costs a microsecond
                calls("on_train_batch_start", batch, batch_idx)
            module.on_train_batch_start(batch, batch_idx)
            total.started += 1
            current.started += 1
            outputs = self._optimize(plan, batch, batch_idx)
        total.processed += 1
        current.processed += 1
        if plan.strategy.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        if trainer.callbacks:
            calls("on_train_batch_end", outputs, batch, batch_idx)
        module.on_train_batch_end(outputs, batch, batch_idx)
        plan.end_batch(self._results)
        total.completed += 1
        current.completed += 1
        if self._results:
            plan.connector.update_train_step_metrics()

    def _optimize(self, plan: StepPlan, batch: Any, batch_idx: int) -> Any:
        """Run the optimization loop, one of those below or Lightning's."""
        if not self.trainer.callbacks or plan.is_current():  # a callback may have changed something
            if not plan.module.automatic_optimization:
                return self._optimize_manually(plan, batch, batch_idx)
            optimizer = plan.strategy.optimizers[0]
            if self._is_plain(plan, optimizer):
                return self._optimize_automatically(plan, optimizer, batch, batch_idx)
        kwargs: Any = self._build_kwargs({}, batch, batch_idx)  # type: ignore[arg-type]
        if not plan.module.automatic_optimization:
            return self.manual_optimization.run(kwargs)
        return self.automatic_optimization.run(self.trainer.optimizers[0], batch_idx, kwargs)

    def _is_plain(self, plan: StepPlan, optimizer: Any) -> bool:
        """Whether a step consists of forward, backward, ``gradient_clip`` and a step of the optimizer, no closure."""
        return (
            self.trainer.gradient_clip_val is None
            and getattr(plan.precision, "scaler", None) is None
            and not plan.module._shows_gradients
            and torch.is_grad_enabled()
            and not requires_closure(optimizer)
        )

    @propagate_stop_iteration
    def _optimize_automatically(self, plan: StepPlan, optimizer: Any, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Do what Lightning's automatic optimization does: forward, backward, the optimizer's step."""
        trainer, module, calls = self.trainer, plan.module, plan.calls
        attributes, progress = module.__dict__, self.automatic_optimization.optim_progress.optimizer
        outer, attributes["_current_fx_name"] = attributes["_current_fx_name"], "training_step"
        progress.step.increment_ready()
        output = plan.train(batch, batch_idx)
        attributes["_current_fx_name"] = "optimizer_step"
        outputs: dict[str, Any] = {}
        if output is not None and trainer.callbacks and calls.is_implemented("on_train_batch_end"):
            extra = {key: value for key, value in output.items() if key != "loss"}
            outputs = {"loss": output["loss"].detach().clone(), **extra}
        progress.zero_grad.increment_ready()
        if trainer.callbacks:
            calls("on_before_zero_grad", optimizer)
        progress.zero_grad.increment_started()
        progress.zero_grad.increment_completed()
        if output is not None:
            loss = output["loss"]
            if trainer.callbacks and calls.is_implemented("on_before_backward"):
                loss = loss / 1  # a copy, which the hook may change
                calls("on_before_backward", loss)
            module.hooks.backward(loss.backward)
            if trainer.callbacks:
                calls("on_after_backward")
        if trainer.callbacks:
            calls("on_before_optimizer_step", optimizer)
        module.hooks.clip_gradients()
        if output is not None:
            optimizer.step()
        module.log_step_once()
        progress.step.increment_completed()
        attributes["_current_fx_name"] = outer
        return outputs

    def _optimize_manually(self, plan: StepPlan, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Do what Lightning's manual optimization does: the module's step, in which its optimizer's steps count."""
        manual, attributes = self.manual_optimization, plan.module.__dict__
        manual.on_run_start()
        outer, attributes["_current_fx_name"] = attributes["_current_fx_name"], "training_step"
        output = plan.train(batch, batch_idx)
        attributes["_current_fx_name"] = outer
        manual._output = ManualResult.from_training_step_output(output).asdict()
        manual._restarting = False
        return manual.on_run_end()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate, if that is due, and count the batch."""
        if self._plan is None or self._skip_next_val or self._may_be_due(self._plan):
            super().on_advance_end(data_fetcher)
        else:
            self._batches_that_stepped += 1

    def _may_be_due(self, plan: StepPlan) -> bool:
        """Whether a validation, a scheduler or a stop may be due after this batch."""
        trainer, progress = self.trainer, self.batch_progress
        due = trainer.val_check_batch
        if progress.is_last_batch or trainer.should_stop or trainer.received_sigterm or due is None:
            return True
        if trainer._val_check_time_interval is not None:
            return True
        if any(config.reduce_on_plateau for config in plan.strategy.lr_scheduler_configs):
            return True
        if due == math.inf:
            return isinstance(trainer.limit_train_batches, int)
        batches = progress.total if trainer.check_val_every_n_epoch is None else progress.current
        return bool(batches.ready % due == 0)


def next_batch(data_fetcher: Any) -> Any:
    """Return the next batch of a data fetcher, past the classes that combine several loaders where there is one.

    Parameters
    ----------
    data_fetcher : _PrefetchDataFetcher
        The data fetcher.

    Returns
    -------
    object
        The batch.

    Raises
    ------
    StopIteration
        If there is none.
    """
    loaders = data_fetcher._combined_loader
    iterator = loaders._iterator
    if (
        data_fetcher.batches
        or data_fetcher.done
        or type(iterator) is not _MaxSizeCycle
        or len(iterator.iterators) != 1
        or loaders._iterables is not loaders._flattened[0]
    ):
        return next(data_fetcher)[0]
    try:
        batch = next(iterator.iterators[0])
    except StopIteration:
        iterator._consumed[0] = data_fetcher.done = True
        raise
    iterator._idx += 1
    data_fetcher.fetched += 1
    if data_fetcher.length is not None:
        data_fetcher.done = data_fetcher.fetched >= data_fetcher.length
    return batch
