"""Fit hooks: the events of a run, in the order of zae-engine 0.7.6.

Lightning's hooks call these through the adapter; the loop over an overridden ``run_epoch`` calls them directly. So the
order of clearing the logs, metrics, mode switches, `check_better` and scheduler steps is written once, here and in
``phase.py``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._protocol import TrainerProtocol
from .._state import RunDisplay
from ..checkpoint import mid_epoch
from ..checkpoint.best import check_epoch, is_best_validation
from ..checkpoint.trainer_state import random_states
from ..checkpoint.validated_weights import keep_validated_weights
from ..checks import unrelated_optimizer
from ..display.progress_display import ProgressDisplay
from ..epoch_summary import EpochSummary, record_epoch
from ..logs.epoch_log import log_of, peek
from ..logs.reductions import mean
from ..logs.value_buffer import ValueBuffer
from ..monitor import Monitor
from ..optim import has_modes, learning_rate
from ..utilities.import_guard import guarded_import
from .batch_hooks import BatchHooks
from .loggers import log_hyperparams
from .multi_process import gather_logs, start_log_tracking
from .phase import Phase, log_results, metrics_of, results_of, results_of_validation
from .stopping import stop_message

if TYPE_CHECKING:
    from typing_extensions import Self


class FitHooks(BatchHooks):
    """The epochs of one `run`: a training phase each, a validation phase, then what finishes an epoch.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer, with ``loader`` and ``valid_loader`` set.
    n_epoch : int
        How many epochs the run has.
    kwargs : mapping
        The extra arguments of `run`.
    """

    def __init__(self, trainer: TrainerProtocol, n_epoch: int, kwargs: Mapping[str, Any]) -> None:
        super().__init__(trainer, trainer.loader, kwargs)
        self.valid_loader = trainer.valid_loader
        self.n_epoch = n_epoch
        self._validated = False  # in this epoch
        self._validated_here = False  # since the latest training batch
        self._results_of_epoch: dict[str, float] = {}
        self._start_time = time.perf_counter()
        self._warned_of_missing_loss = False
        self._unchanged = unrelated_optimizer(trainer) if trainer.mode == "train" else None

    # The run

    def __enter__(self) -> Self:
        trainer = self.trainer
        self._mode = trainer.mode
        self._epoch = trainer.progress_checker.get_epoch() - 1
        super().__enter__()
        trainer._zae_state.run.display = self.display
        self._last_epoch = self._epoch + self.n_epoch
        log_hyperparams(trainer)  # of a test run too
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        run = self.trainer._zae_state.run
        run.display = self._outer_display
        run.epoch_summary = run.mid_epoch_state = None
        if self._validation is not None:  # an exception has ended the validation
            self.trainer.mode = self._mode
            self._validation = None
        super().__exit__(kind, error, traceback)

    def _make_display(self) -> RunDisplay:
        return ProgressDisplay(self.trainer, self._epoch + self.n_epoch, shows=not self._has_bar)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the trainer's part of a checkpoint; the epochs continue from there."""
        super().load_state_dict(state)
        self._epoch = self.trainer.progress_checker.get_epoch() - 1

    def say_why_it_stopped(self) -> None:
        """Write which callback has ended the run, if it ends before its last epoch."""
        if self._epoch < self._last_epoch and (text := stop_message(self.trainer)) is not None:
            self.display.note(text)

    # Resuming in the middle of an epoch

    def resume_mid_epoch(self) -> tuple[int, bool, bool] | None:
        """Resume in the middle of an epoch, if such a state is loaded and the loader can.

        Returns
        -------
        tuple or None
            How many batches of the epoch are done, whether these are all, and whether the validation there is over.
        """
        if not mid_epoch.can_resume_mid_epoch(self.trainer, self.loader):
            return None
        position = mid_epoch.resume_mid_epoch(self.trainer, self.loader)
        self._begin_training_phase().show()
        return position

    def track_position(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Receive what tells the position in the training epoch: the batches done, and the loader's own state."""

        def mid_epoch_state() -> dict[str, Any] | None:
            found = None if self._training is None or self._validation is not None else position()
            if found is None:
                return None
            return mid_epoch.mid_epoch_state(self.trainer, *found, has_validated=self._validated_here)

        self.trainer._zae_state.run.mid_epoch_state = mid_epoch_state

    # The events of an epoch

    @property
    def active_loader(self) -> Any:
        """The loader that the current batch comes from."""
        return self.loader if self._validation is None else self.valid_loader

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """Count a batch; see `BatchHooks.batch_done`."""
        if self._validation is None:
            self._validated_here = False
        super().batch_done(batch, is_step)

    def start_epoch(self) -> None:
        """Count the data, clear the logs, show the bar."""
        with self.user_code():
            self._begin_training_phase().start()

    def _begin_training_phase(self) -> Phase:
        self._begin_epoch()
        self._training = Phase(self.trainer, self.display, self.loader)
        return self._training

    def _begin_epoch(self) -> None:
        self.trainer._zae_state.run.epoch_summary = None
        self._validated = False
        self.display.epoch = self._epoch + 1
        self._results_of_epoch = {}
        self._start_time = time.perf_counter()
        self.trainer._data_count(initial=True)

    def finish_training(self) -> None:
        """Compute the metrics of training, once."""
        if self._training is not None:
            phase, self._training = self._training, None
            with self.user_code():
                self._add_results(phase.finish())
            self.results.update(self.loader_results.take())

    def start_validation(self, training_over: bool = True) -> None:
        """Switch to test mode and clear the logs, once; in the middle of an epoch, suspend the training phase."""
        if self._validation is not None:
            return
        if training_over:
            self.finish_training()
        elif self._training is not None:
            self._training.suspend()
        self.trainer._zae_state.run.validated_weights = None
        self._validation = Phase(self.trainer, self.display, self.valid_loader)
        self.trainer.toggle("test")
        with self.user_code():
            self._validation.start()

    def finish_validation(self) -> None:
        """Compute the metrics of validation, and switch back to train mode."""
        if self._validation is None:
            return
        trainer = self.trainer
        with self.user_code():
            self._add_results(self._validation.finish())
        self.results.update(self.loader_results.take())
        self.results.update(results_of_validation(self.results))
        if self.follows_lightning or has_modes(trainer.optimizer):
            keep_validated_weights(trainer, is_best_validation(trainer, self._results_of_epoch))
        trainer.toggle(self._mode)
        self._validation, self._validated, self._validated_here = None, True, True
        if self._training is not None and self._training.is_suspended:
            self._training.resume()
        elif trainer.mode == "train" and (self.follows_lightning or trainer.callbacks):
            trainer._zae_state.run.epoch_summary = self._epoch_summary()  # for a checkpoint that is written now

    def finish_epoch(self, is_validation: bool = False) -> None:
        """Compute the metrics of training if validation has not, and finish the epoch."""
        self.finish_training()
        if is_validation:  # of `L.Trainer.validate`
            self.results.update(results_of_validation(self.results))
        self._finish_epoch()

    def run_custom_epoch(self) -> None:
        """Run one epoch through the trainer's ``run_epoch``, which may be overridden."""
        trainer = self.trainer
        self._begin_epoch()
        self._run_custom_phase(self.loader)
        if self.valid_loader is not None:
            self._validation = Phase(trainer, self.display, self.valid_loader)
            trainer.toggle("test")
            self._run_custom_phase(self.valid_loader)
            trainer.toggle(self._mode)
            self._validation, self._validated = None, True
        if trainer.mode == "train" and trainer.lightning_trainer is not None:
            self._check_monitors()
        self._finish_epoch()

    def _check_monitors(self) -> None:
        """Let callbacks save and stop by the results of the epoch, which `run_epoch` has not had at its end."""
        with guarded_import("zae_lightning"):
            import zae_lightning

        self.trainer._zae_state.run.epoch_summary = self._epoch_summary()  # for a checkpoint that is written now
        results = self._results_of_epoch
        zae_lightning.check_monitors(self.trainer, {**results, **results_of_validation(results)})

    def _run_custom_phase(self, loader: Any) -> None:
        trainer, connector = self.trainer, self.trainer._zae_state.records.logger_connector
        logged = connector.epochs
        start_log_tracking(trainer)
        trainer.run_epoch(loader, **self.kwargs)
        gather_logs(trainer)
        self.check_run_epoch()
        self.display.end()
        if connector.epochs == logged:  # the override has not called Trainer.run_epoch
            self._add_results(log_results(trainer, metrics_of(trainer)))
        else:
            self._results_of_epoch.update(results_of(trainer, metrics_of(trainer)))

    def _add_results(self, results: Mapping[str, float]) -> None:
        self.results.update(results)
        self._results_of_epoch.update(results)

    # The end of an epoch

    def _finish_epoch(self) -> None:
        state = self.trainer._zae_state
        with state.process.interrupts.deferred(), self.user_code():
            self._record_epoch()
        state.run.validated_weights = None
        self._epoch += 1
        if self.trainer.mode == "train" and state.run.sigterm is not None:
            state.run.sigterm.epoch_done()

    def _record_epoch(self) -> None:
        trainer, state = self.trainer, self.trainer._zae_state
        if trainer.mode != "train":
            results = {**self._results_of_epoch, "seconds": time.perf_counter() - self._start_time}
            self.display.epoch_line(results, self._validated)
        else:
            summary = state.run.epoch_summary = self._epoch_summary()
            if self._monitor.name is None and not self._losses and self._validated and trainer.log_test:
                self._warn_of_missing_loss()
            summary.better = self._is_comparable and check_epoch(trainer, self._epoch, summary)
            if hasattr(trainer, "_zae_save_latest"):  # StateManagerAddon's
                trainer._zae_save_latest(self._epoch)
            scheduler = None if trainer.scheduler_step_on_batch else trainer.scheduler
            record_epoch(summary, state.records.history, scheduler, trainer.progress_checker, self._monitor)
            state.run.epoch_summary = None
            self.display.epoch_line(summary.record, self._validated, summary.better)
            self.display.curves()
            if self._unchanged is not None:
                unchanged, self._unchanged = self._unchanged, None
                unchanged.warn_if_nothing_changed()

    @property
    def _monitor(self) -> Monitor:
        return self.trainer._zae_state.config.monitor

    @property
    def _is_comparable(self) -> bool:
        """Whether the epoch's loss is one of validation, or no epoch is validated; it may be due in some only.

        A monitored result of training is there in every epoch.
        """
        is_validated = self._validated or (self.valid_loader is None and not self.validates_elsewhere)
        return is_validated or self._monitor.is_of_training

    @property
    def _losses(self) -> ValueBuffer:
        log = log_of(self.trainer, "test" if self._validated else "train")
        return peek(log).get("loss", ValueBuffer())

    def _epoch_summary(self) -> EpochSummary:
        """Return what the epoch came to, as far as it is known before `check_better`."""
        history, losses = self.trainer._zae_state.records.history, self._losses
        is_comparable = self._is_comparable
        lr = learning_rate(self.trainer.optimizer)
        record = {
            "epoch": self._epoch + 1,
            "steps": len(history.losses["train"]),
            **self._results_of_epoch,
            **({} if lr is None else {"lr": lr}),
            "seconds": time.perf_counter() - self._start_time,
        }
        return EpochSummary(
            record=record,
            loss=self._mean_loss(losses),
            plateau=(bool(len(losses)) or self._monitor.name is not None) and is_comparable,
            kwargs=self.kwargs,
            random=random_states(self.trainer),
            better=None if is_comparable else False,
            steps_scheduler=not self.scheduler_is_replaced,
        )

    def _mean_loss(self, losses: ValueBuffer) -> float:
        try:
            return mean(losses)
        except (TypeError, ValueError) as error:
            step = "test_step" if self._validated else "train_step"
            shown = repr(losses.read_from(0)[0])[:80]
            raise TypeError(
                f'{step} returned {shown} under "loss", so the epoch has no mean loss ({error}). Return a number, or a '
                f"tensor of the same shape for every batch."
            ) from error

    def _warn_of_missing_loss(self) -> None:
        if not self._warned_of_missing_loss:
            self._warned_of_missing_loss = True
            warnings.warn(
                'test_step returned no "loss", so no epoch is better than another: apply_weights() has nothing to '
                'apply, and a ReduceLROnPlateau is not stepped. Return {"loss": ..., ...} from test_step.',
                stacklevel=2,
            )
