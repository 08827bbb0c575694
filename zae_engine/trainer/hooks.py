"""The moments of an epoch and of a run, in the order of zae-engine 0.7.6.

Lightning's hooks call these through the adapter; the loop over an overridden ``run_epoch`` calls them directly. So the
order of log clearing, metrics, mode switches, `check_better` and scheduler steps is written down once, here.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from . import checks, ranks, steps
from ._placement import length
from .display import Display
from .history import mean
from .loaders import with_batch_size
from .overrides import is_overridden
from .results import epoch_results

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
        world = self.trainer._zae_state.world
        if world is None:
            return 1.0
        if hasattr(self._present_loader, "share_of"):
            world.ledger.share = self._present_loader.share_of(step)
        else:
            world.ledger.share = ranks.Share(step, 1.0 / world.size)
        if self.trainer._zae_state.averaging is not None and self.trainer.mode == "train":
            self.trainer._zae_state.averaging.refresh()
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
            return state.step
        finally:
            state.backward = state.optimizer_step = None

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
        find = functools.partial(ranks.parameters, trainer)
        with ranks.GradientAveraging(find, self._gradient_scale, all_passes) as state.averaging:
            try:
                yield
            finally:
                state.averaging = None

    def batch_done(self, batch: Any) -> None:
        """Count a batch that the loader gave; a ``None`` batch is passed over, but the bar moves."""
        trainer = self.trainer
        if batch is not None:
            trainer._data_count(initial=trainer.batch_size is None)
        self.display.batch_done()

    # The moments of an epoch

    def __enter__(self) -> EpochHooks:
        self.display = self._make_display()
        self.trainer._zae_state.running += 1
        if self.trainer.mode == "train":
            self.trainer._zae_state.feed.introduce(self.trainer)
        self._whole = ExitStack()
        world = self.trainer._zae_state.world
        if world is not None and world.ledger.is_used:  # an epoch within another, which goes on afterwards
            self._whole.callback(world.ledger.resume, world.ledger.pause(cleared=True))
        self._whole.enter_context(self._averaging())
        return self

    def __exit__(self, *exception: object) -> None:
        self._whole.close()
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
        trainer = self.trainer
        if trainer._zae_state.world is not None:  # log_reset does so too, if it is not overridden
            trainer._zae_state.world.ledger.begin(len(trainer.loss_history_train), len(trainer.loss_history_test))
        trainer._zae_state.metrics.begin(trainer.mode)
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

    def _results(self, metrics: Mapping[str, Any]) -> None:
        """Give what the epoch came to, to loggers and to Lightning."""
        results = epoch_results(self.trainer, metrics)
        self.results.update(results)
        self.trainer._zae_state.feed.epoch(self.trainer, results, metrics)

    def validation_starts(self, training_over: bool = True) -> None:
        """Do nothing: there is no validation outside `run`."""

    def validation_ends(self) -> None:
        """Do nothing: there is no validation outside `run`."""

    def training_ends(self) -> None:
        """Do nothing: `epoch_ends` takes the metrics."""


class RunHooks(EpochHooks):
    """The epochs of one `run`: an `EpochHooks` epoch each, then validation, then what ends an epoch.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer, with ``loader`` and ``valid_loader`` set.
    n_epoch : int
        How many epochs the run has.
    kwargs : mapping
        The extra arguments of `run`.
    """

    def __init__(self, trainer: Trainer, n_epoch: int, kwargs: Mapping[str, Any]) -> None:
        super().__init__(trainer, trainer.loader, kwargs)
        self.valid_loader: Any = trainer.valid_loader
        self.n_epoch = n_epoch
        self._validating = False
        self._validated = False
        self._train_done = False
        self._laid_aside: Any = None
        self._mode_outside: str | None = None
        self._warned = False

    def __enter__(self) -> RunHooks:
        trainer = self.trainer
        self._mode = trainer.mode
        self._epoch = trainer.progress_checker.get_epoch() - 1
        super().__enter__()
        trainer._zae_state.display = self.display
        trainer._zae_state.feed.introduce(trainer)
        return self

    def open(self, mode: str) -> None:
        """Begin, in an ``L.Trainer`` of the user's own, which runs in this mode; the one from before comes back."""
        self.loader, self.valid_loader = self.trainer.loader, self.trainer.valid_loader
        before = self.trainer.mode
        self.trainer.toggle(mode)
        if mode == "train":
            self.trainer.model.train()  # each batch does so too; but Lightning warns where it was left otherwise
        self.__enter__()
        self._mode_outside = before

    def __exit__(self, *exception: object) -> None:
        self.trainer._zae_state.display = self._outer_display
        if self._validating:  # broken off by an exception
            self.trainer.mode = self._mode
            self._validating = False
        if self._mode_outside is not None:
            self.trainer.mode = self._mode_outside
        super().__exit__(*exception)

    @property
    def _present_loader(self) -> Any:
        return self.valid_loader if self._validating else self.loader

    def _make_display(self) -> Display:
        return Display(self.trainer, self._epoch + self.n_epoch)

    def epoch_starts(self) -> None:
        """Count the data, clear the logs, show the bar."""
        self._validated = self._train_done = False
        self.display.epoch = self._epoch + 1
        self.trainer._data_count(initial=True)
        super().epoch_starts()

    def validation_starts(self, training_over: bool = True) -> None:
        """Take the metrics of training, switch to test mode, clear the logs. Once, however often it is called.

        In the middle of an epoch, the log of training is laid aside until the validation is over.
        """
        if self._validating:
            return
        trainer = self.trainer
        if training_over:
            self._end_training()
        else:
            world = trainer._zae_state.world
            self._laid_aside = (dict(trainer.log_train), self.display.pause(), world and world.ledger.pause())
        self._validating = True
        trainer.toggle("test")
        trainer.log_reset()
        self._begin(length(self.valid_loader))

    def validation_ends(self) -> None:
        """Take the metrics of validation, switch back to train mode."""
        if not self._validating:
            return
        trainer = self.trainer
        super().epoch_ends()
        self.results.update({f"val_{key[5:]}": value for key, value in self.results.items() if key[:5] == "test_"})
        trainer.toggle(self._mode)
        self._validating, self._validated = False, True
        if self._laid_aside is not None:
            log_train, display, ledger = self._laid_aside
            self._laid_aside = None
            trainer.log_train.update(log_train)
            self.display.resume(display)
            if trainer._zae_state.world is not None:
                trainer._zae_state.world.ledger.resume(ledger)

    def training_ends(self) -> None:
        """Take the metrics of training, if validation did not."""
        self._end_training()

    def epoch_ends(self) -> None:
        """Take the metrics of training if validation did not, and do what ends an epoch."""
        self._end_training()
        self._end_epoch()

    def by_hand(self) -> None:
        """Run one epoch through the trainer's own ``run_epoch``, which may be overridden."""
        trainer = self.trainer
        self._validated = False
        self.display.epoch = self._epoch + 1
        trainer._data_count(initial=True)
        self._own_epoch(self.loader)
        if self.valid_loader is not None:
            self._validating = True
            trainer.toggle("test")
            self._own_epoch(self.valid_loader)
            trainer.toggle(self._mode)
            self._validating, self._validated = False, True
        self._end_epoch()

    def _own_epoch(self, loader: Any) -> None:
        trainer, feed = self.trainer, self.trainer._zae_state.feed
        logged = feed.epochs
        if trainer._zae_state.world is not None:
            trainer._zae_state.world.ledger.begin(len(trainer.loss_history_train), len(trainer.loss_history_test))
        trainer.run_epoch(loader, **self.kwargs)
        ranks.merge_logs(trainer)
        self.display.end()
        if feed.epochs == logged:  # it has not called Trainer's
            self._results(trainer.train_metrics if trainer.mode == "train" else trainer.test_metrics)

    def _end_epoch(self) -> None:
        trainer = self.trainer
        self.display.epoch_line(self._validated)
        if trainer.mode == "train":
            losses = (trainer.log_test if self._validated else trainer.log_train).get("loss", [])
            loss = mean(losses)
            if not losses and self._validated and trainer.log_test:
                self._warn_of_missing_loss()
            comparable = self._validated or self.valid_loader is None  # else: validation is not due in every epoch
            if comparable:
                trainer.check_better(cur_epoch=self._epoch, cur_loss=loss)
            if not trainer.scheduler_step_on_batch:
                steps.step_scheduler(trainer, loss if losses and comparable else None, self.kwargs)
            trainer.progress_checker.update_epoch()
        self._epoch += 1

    def _warn_of_missing_loss(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                'test_step returned no "loss", so no epoch can be told to be better: apply_weights() has nothing to '
                'apply, and a ReduceLROnPlateau is not stepped. Return {"loss": ..., ...} from test_step.',
                stacklevel=2,
            )

    def _end_training(self) -> None:
        if not self._train_done:
            self._train_done = True
            super().epoch_ends()
