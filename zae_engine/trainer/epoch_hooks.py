"""The moments of one epoch, in the order of zae-engine 0.7.6, and what Lightning asks of a trainer for every batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from . import checks, ranks, resume, steps
from ._placement import length
from .display import Display
from .loaders import with_batch_size
from .means import learning_rate
from .overrides import is_overridden
from .results import epoch_results, numbers

if TYPE_CHECKING:
    from ._trainer import Trainer


class EpochHooks:
    """One epoch in the trainer's present mode: clear the logs, run the batches, compute the metrics.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer.
    loader : iterable of batches
        Only its length is used here.
    kwargs : mapping
        The extra arguments of `run` or `run_epoch`; they go to `run_batch` and to the scheduler's step.
    """

    def __init__(self, trainer: Trainer, loader: Any, kwargs: Mapping[str, Any]) -> None:
        self.trainer = trainer
        self.loader = loader
        self.kwargs = kwargs
        self.grad_enabled = torch.is_grad_enabled()
        self.results: dict[str, float] = {}
        self._outer_display = trainer._zae_state.display  # of the run that this is within
        self._watches_interrupts = True

    def __deepcopy__(self, memo: Any) -> EpochHooks:
        """Stay one: callbacks that average weights copy the generated module, but not the trainer behind it."""
        return self

    # What the adapter reads and calls for every batch

    @property
    def model(self) -> Any:
        """The user's model."""
        return self.trainer.model

    @property
    def mode(self) -> str:
        """The trainer's mode."""
        return self.trainer.mode

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer | None:
        """The user's optimizer, if it is torch's and not something that only looks like one."""
        optimizer = self.trainer.optimizer
        return optimizer if checks.is_torch_optimizer(optimizer) else None

    @property
    def torch_scheduler(self) -> Any:
        """The user's scheduler, if it is torch's and of the user's optimizer."""
        scheduler, optimizer = self.trainer.scheduler, self.trainer.optimizer
        is_torchs = isinstance(scheduler, (LRScheduler, ReduceLROnPlateau))
        return scheduler if is_torchs and getattr(scheduler, "optimizer", None) is optimizer else None

    @property
    def scheduler_interval(self) -> str:
        """``"step"`` if the scheduler goes by batches, ``"epoch"`` otherwise."""
        return "step" if self.trainer.scheduler_step_on_batch else "epoch"

    @property
    def owns_batches(self) -> bool:
        """Whether ``run_batch`` does the whole of a batch: the user's own, or with an optimizer that is not torch's."""
        return is_overridden(self.trainer, "run_batch") or (
            self.trainer.mode == "train" and self.torch_optimizer is None
        )

    @property
    def batch_size(self) -> int | None:
        """The batch size of the loader; setting it makes a loader like it the one that is used."""
        return getattr(self.loader, "batch_size", None)

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.loader = self.trainer.loader = with_batch_size(self.loader, value)
        self.trainer.batch_size = value

    def numbers(self, step_dict: Any) -> dict[str, float]:
        """Return what loggers get of a step: its numbers, and the learning rate."""
        values = numbers(step_dict) if isinstance(step_dict, Mapping) else {}
        return {"lr": learning_rate(self.trainer.optimizer), **values}

    def means(self) -> dict[str, float]:
        """Return the running means of the present epoch, as the bar shows them."""
        return self.display.means()

    def strategy_has(self, parameters: Iterable[torch.Tensor]) -> None:
        """Leave the gradients of these parameters to Lightning's strategy."""
        averaging = self.trainer._zae_state.averaging
        if averaging is not None:
            averaging.leave_to_strategy(parameters)

    def take(self, step: int) -> float:
        """Turn to a batch of the epoch, and return what its loss counts, by its part of the samples of all ranks."""
        self.trainer._zae_state.interrupts.release()  # where nothing was recorded, as by a tuner
        world = self.trainer._zae_state.world
        if world is None:
            return 1.0
        if hasattr(self._present_loader, "share_of"):
            world.ledger.share = self._present_loader.share_of(step)
        else:
            world.ledger.share = ranks.Share(step, 1.0 / world.size)
        if self.trainer._zae_state.averaging is not None and self.trainer.mode == "train":
            self.trainer._zae_state.averaging.refresh(anew=step == 0)
        return self._gradient_scale()

    @property
    def _present_loader(self) -> Any:
        return self.loader

    def _gradient_scale(self) -> float:
        world = self.trainer._zae_state.world
        return 1.0 if world is None or world.ledger.share is None else world.ledger.share.weight * world.size

    def backward(self, backward: Callable[[], None]) -> None:
        """Call Lightning's backward; its strategy averages the gradients over the ranks."""
        averaging = self.trainer._zae_state.averaging
        if averaging is not None:
            averaging.refresh()  # the step may have unfrozen parameters
        with averaging.paused() if averaging is not None else nullcontext():
            backward()
        self.trainer._zae_state.interrupts.hold()  # until `finish`

    def resumes(self) -> tuple[int, bool, bool] | None:
        """Return None: only `run` goes on in the middle of an epoch."""

    def progresses(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Do nothing, as above."""

    def checkpoint(self) -> Mapping[str, Any] | None:
        """Return what has been loaded for the callbacks of this run, or None."""
        checkpoint: Mapping[str, Any] | None = (self.trainer._zae_state.to_resume or {}).get("checkpoint")
        return checkpoint

    def state(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, plain values."""
        return {**resume.state_of(self.trainer), "random": resume.encode(resume.random_states(self.trainer))}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make the trainer what it was when `state` was called; Lightning ends the epoch by itself."""
        resume.restore(self.trainer, {**state, "ending": None})

    def to_device(self, batch: Any) -> Any:
        """Return the batch as the steps receive it."""
        return steps.to_device(self.trainer, batch)

    def train_forward(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run ``train_step`` on a moved batch."""
        return steps.train_forward(self.trainer, batch, zero_grad)

    def test_forward(self, batch: Any) -> Any:
        """Run ``test_step`` on a moved batch."""
        return steps.test_forward(self.trainer, batch)

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip as the trainer's ``gradient_clip`` says; with ``if_due`` only if `Trainer.run_batch` has not."""
        state = self.trainer._zae_state
        if state.clip_due or not if_due:
            steps.clip_gradients(self.trainer)
        state.clip_due = False

    def finish(self, step_dict: Mapping[str, Any]) -> None:
        """Log a step and count it."""
        steps.finish(self.trainer, step_dict, self.kwargs)

    def run_batch(self, batch: Any, backward: Any = None, step: Any = None) -> Mapping[str, Any]:
        """Call the trainer's ``run_batch`` and return what its step returned, if it went through `Trainer`'s.

        There, ``backward`` and ``step`` replace ``loss.backward()`` and ``optimizer.step()``.
        """
        state, scale = self.trainer._zae_state, self._gradient_scale()
        scaled = backward if backward is None or scale == 1.0 else lambda loss: backward(loss * scale)
        state.backward, state.optimizer_step, state.step = scaled, step, {}
        try:
            self.trainer.run_batch(batch, **self.kwargs)
            return state.step or {}
        finally:
            state.backward = state.optimizer_step = state.step = None

    def run_alone(self, batch: Any) -> None:
        """Call the trainer's ``run_batch`` outside Lightning's loop; a ``None`` batch is passed over."""
        if batch is not None:
            with self._averaging(alone=True):
                self.trainer.run_batch(batch, **self.kwargs)

    @contextmanager
    def _averaging(self, alone: bool = False) -> Iterator[None]:
        """Average gradients over the ranks, however they are made; alone, do nothing."""
        trainer, state = self.trainer, self.trainer._zae_state
        if state.world is None or state.averaging is not None or trainer.mode != "train":
            yield
            return
        all_passes = self.owns_batches or is_overridden(trainer, "run_epoch") or alone
        with ranks.GradientAveraging(ranks.Trained(trainer), self._gradient_scale, all_passes) as state.averaging:
            try:
                yield
            finally:
                state.averaging = None

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """Count a batch that the loader gave; a ``None`` batch is passed over, but the bar moves.

        With ``is_step``, a training step is over which is not the last of its epoch, and the run may stop here.
        """
        trainer = self.trainer
        if batch is not None:
            trainer._data_count(initial=trainer.batch_size is None)
        self.display.batch_done()
        if trainer._zae_state.to_resume is not None and trainer.mode == "train":
            trainer._zae_state.to_resume = None  # all has been taken up
        if is_step and trainer._zae_state.termination is not None:
            trainer._zae_state.termination.step_done()

    # The moments of an epoch

    def __enter__(self) -> EpochHooks:
        self.display = self._make_display()
        self.trainer._zae_state.running += 1
        if self.trainer.mode == "train":
            self.trainer._zae_state.feed.introduce(self.trainer)
        self._whole = ExitStack()
        if self._watches_interrupts:
            self._whole.enter_context(self.trainer._zae_state.interrupts.watched())
        self._whole.callback(self._close)
        world = self.trainer._zae_state.world
        if world is not None and world.ledger.is_used:  # an epoch within another, which goes on afterwards
            self._whole.callback(world.ledger.resume, world.ledger.pause(cleared=True))
        self._whole.enter_context(self._averaging())
        return self

    def __exit__(self, *exception: object) -> None:
        self._whole.close()

    def _close(self) -> None:
        self.trainer._zae_state.feed.save(self.trainer)
        self.trainer._zae_state.running -= 1
        if self.display is not self._outer_display:
            self.display.close()
        self._let_go()

    def _make_display(self) -> Display:
        return self._outer_display or Display(self.trainer)

    def _let_go(self) -> None:
        """Hold the trainer weakly from now on: Lightning keeps these hooks, and the trainer keeps Lightning."""
        del self.display, self._whole
        self.trainer = weakref.proxy(self.trainer)

    def epoch_starts(self) -> None:
        """Clear the logs and show the bar."""
        self.trainer.log_reset()
        self._begin(length(self.loader))

    def _begin(self, n_batches: int | None) -> None:
        ranks.begin_logs(self.trainer)  # log_reset does so too, if it is not overridden
        self.trainer._zae_state.metrics.begin(self.trainer.mode)
        self.display.start(n_batches)

    def epoch_ends(self) -> None:
        """Take the metrics of the epoch, of all ranks."""
        trainer = self.trainer
        if trainer.mode == "train":
            ranks.broadcast_buffers(trainer)
        ranks.merge_logs(trainer)
        self.display.end()
        metrics = trainer.train_metrics if trainer.mode == "train" else trainer.test_metrics
        new = {**trainer._zae_state.metrics.compute(trainer.mode), **checks.metrics(trainer.metric_on_epoch_end())}
        new = ranks.agree_on_metrics(trainer, new)
        metrics.update(new)
        self._results(new)

    def _results(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Give what the epoch came to, to loggers and to Lightning, and return it."""
        results = epoch_results(self.trainer, metrics)
        self.results.update(results)
        self.trainer._zae_state.feed.epoch(self.trainer, results, metrics)
        return results

    def validation_starts(self, training_over: bool = True) -> None:
        """Do nothing: there is no validation outside `run`."""

    def validation_ends(self) -> None:
        """Do nothing: there is no validation outside `run`."""

    def training_ends(self) -> None:
        """Do nothing: `epoch_ends` takes the metrics."""
