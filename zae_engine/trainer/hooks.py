"""The moments of a run, in the order of zae-engine 0.7.6.

Lightning's hooks call these through the adapter; the loop over an overridden ``run_epoch`` calls them directly. So the
order of log clearing, metrics, mode switches, `check_better` and scheduler steps is written down once, here and in
``epoch_hooks.py``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import ranks, resume
from ._placement import length
from .display import Display
from .epoch_hooks import EpochHooks
from .log import columns, lay_aside, log_of, take_back
from .means import learning_rate, mean
from .results import epoch_results
from .series import Series

if TYPE_CHECKING:
    from ._trainer import Trainer


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
        self._train_done = True  # no epoch is in hand
        self._laid_aside: Any = None
        self._record: dict[str, Any] = {}
        self._began = time.perf_counter()
        self._has_validated_here = False
        self._mode_outside: str | None = None
        self._warned = False

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """As `EpochHooks.batch_done`."""
        if not self._validating:
            self._has_validated_here = False
        super().batch_done(batch, is_step)

    def restore(self, state: Mapping[str, Any]) -> None:
        """As `EpochHooks.restore`; the epochs go on from there."""
        super().restore(state)
        self._epoch = self.trainer.progress_checker.get_epoch() - 1

    def resumes(self) -> tuple[int, bool, bool] | None:
        """Go on in the middle of an epoch, if one was loaded and the loader can.

        Returns
        -------
        tuple or None
            How many batches the epoch had, whether these were all, and whether a validation was over there.
        """
        trainer = self.trainer
        if not resume.can_go_on(trainer, self.loader):
            return None
        done = resume.go_on(trainer, self.loader)
        self._train_done = False
        self._begin_epoch()
        trainer._data_count(initial=True)
        self.display.start(length(self.loader))
        return done

    def progresses(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Know from now on where the training epoch stands: how many batches are done, and the loader's own state."""

        def underway() -> dict[str, Any] | None:
            found = None if self._train_done or self._validating else position()
            if found is None:
                return None
            return resume.underway(self.trainer, *found, has_validated=self._has_validated_here)

        self.trainer._zae_state.underway = underway

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
        self._watches_interrupts = False  # Lightning would put the handler back when it is done, behind us
        before = self.trainer.mode
        self.trainer.toggle(mode)
        if mode == "train":
            self.trainer.model.train()  # each batch does so too; but Lightning warns where it was left otherwise
        self.__enter__()
        self._mode_outside = before

    def __exit__(self, *exception: object) -> None:
        self.trainer._zae_state.display = self._outer_display
        self.trainer._zae_state.ending = self.trainer._zae_state.underway = None
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
        self._train_done = False
        self._begin_epoch()
        self.trainer._data_count(initial=True)
        super().epoch_starts()

    def _begin_epoch(self) -> None:
        self.trainer._zae_state.ending = None
        self._validated = False
        self.display.epoch = self._epoch + 1
        self._record = {}
        self._began = time.perf_counter()

    def _results(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        results = super()._results(metrics)
        self._record.update(results)
        return results

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
            self._laid_aside = (lay_aside(trainer.log_train), self.display.pause(), world and world.ledger.pause())
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
        self._has_validated_here = True
        if self._laid_aside is not None:
            log_train, display, ledger = self._laid_aside
            self._laid_aside = None
            take_back(trainer.log_train, log_train)
            self.display.resume(display)
            if trainer._zae_state.world is not None:
                trainer._zae_state.world.ledger.resume(ledger)
        elif trainer.mode == "train":
            trainer._zae_state.ending = self._ending()  # a checkpoint that is written now is of this moment

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
        self._begin_epoch()
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
        ranks.begin_logs(trainer)
        trainer.run_epoch(loader, **self.kwargs)
        ranks.merge_logs(trainer)
        self.display.end()
        metrics = trainer.train_metrics if trainer.mode == "train" else trainer.test_metrics
        if feed.epochs == logged:  # it has not called Trainer's
            self._results(metrics)
        else:
            self._record.update(epoch_results(trainer, metrics))

    def _end_epoch(self) -> None:
        with self.trainer._zae_state.interrupts.held():
            self._close_books()
        self._epoch += 1
        if self.trainer.mode == "train" and self.trainer._zae_state.termination is not None:
            self.trainer._zae_state.termination.epoch_done()

    def _close_books(self) -> None:
        trainer, state = self.trainer, self.trainer._zae_state
        self.display.epoch_line(self._validated)
        if trainer.mode == "train":
            ending = state.ending = self._ending()
            if not self._losses and self._validated and trainer.log_test:
                self._warn_of_missing_loss()
            comparable = self._validated or self.valid_loader is None  # else: validation is not due in every epoch
            better = comparable and bool(trainer.check_better(cur_epoch=self._epoch, cur_loss=ending["loss"]))
            resume.finish_epoch(trainer, {**ending, "better": better, "kwargs": self.kwargs})
            state.ending = None
            self.display.curves()

    @property
    def _losses(self) -> Series:
        log = log_of(self.trainer, "test" if self._validated else "train")
        return columns(log).get("loss", Series())

    def _ending(self) -> dict[str, Any]:
        """Return what the epoch has come to, for `resume.finish_epoch`, as far as it is known before `check_better`."""
        history, losses = self.trainer._zae_state.history, self._losses
        comparable = self._validated or self.valid_loader is None
        return {
            "record": {
                "epoch": self._epoch + 1,
                "steps": len(history.losses["train"]),
                **self._record,
                "lr": learning_rate(self.trainer.optimizer),
                "seconds": time.perf_counter() - self._began,
            },
            "loss": self._mean_loss(losses),
            "plateau": bool(len(losses)) and comparable,
            "kwargs": self.kwargs,
            "random": resume.random_states(self.trainer),
            "better": None if comparable else False,
        }

    def _mean_loss(self, losses: Series) -> float:
        try:
            return mean(losses)
        except (TypeError, ValueError) as error:
            step = "test_step" if self._validated else "train_step"
            shown = repr(losses.window(0)[0])[:80]
            raise TypeError(
                f'{step} returned {shown} under "loss", so the epoch has no mean loss ({error}). Return a number, or a '
                f"tensor of the same shape for every batch."
            ) from error

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
