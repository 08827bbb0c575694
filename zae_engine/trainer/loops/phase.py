"""Phase: one pass over a loader in one mode, from clearing the logs to the results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from .. import checks
from .._protocol import TrainerProtocol
from .._state import RunDisplay
from ..data.loaders import length
from ..logs.epoch_log import are_weighted, log_of, resume, suspend
from ..logs.epoch_results import epoch_results
from ..logs.reductions import BATCH_SIZE
from ..optim import set_optimizer_mode
from .loggers import log_epoch
from .multi_process import broadcast_buffers, gather_logs, start_log_tracking, sync_metrics
from .phase_warnings import warn_of_phase


class Phase:
    """A training, validation or test phase: `start`, then the batches, then `finish`.

    A validation in the middle of an epoch suspends the training phase.

    Parameters
    ----------
    trainer : Trainer
        The trainer, in the mode of the phase.
    display : RunDisplay
        What shows the phase.
    loader : iterable of batches
        The data; only its length is read.
    """

    def __init__(self, trainer: TrainerProtocol, display: RunDisplay, loader: Any) -> None:
        self._trainer, self._display, self._loader = trainer, display, loader
        self._suspended: tuple[Any, Any, Any] | None = None

    def start(self) -> None:
        """Clear the logs and the metrics, and show the bar."""
        trainer = self._trainer
        set_optimizer_mode(trainer.optimizer, trainer.mode)
        trainer.log_reset()
        start_log_tracking(trainer)  # as `log_reset` does, unless it is overridden
        trainer._zae_state.records.metrics.begin(trainer.mode)
        self.show()

    def show(self) -> None:
        """Show the bar, of a phase whose logs have been restored."""
        self._display.start(length(self._loader))

    def suspend(self) -> None:
        """Set the training log aside, so that a validation can use the trainer."""
        world = self._trainer._zae_state.process.world
        tracker = world.log_tracker.pause() if world is not None else None
        self._suspended = (suspend(self._trainer.log_train), self._display.pause(), tracker)

    @property
    def is_suspended(self) -> bool:
        """Whether `suspend` has been called, and `resume` has not."""
        return self._suspended is not None

    def resume(self) -> None:
        """Restore what `suspend` has set aside."""
        if self._suspended is not None:
            log_train, display, tracker = self._suspended
            self._suspended = None
            resume(self._trainer.log_train, log_train)
            self._display.resume(display)
            world = self._trainer._zae_state.process.world
            if world is not None:
                world.log_tracker.resume(tracker)

    def finish(self) -> dict[str, float]:
        """Compute the metrics of the phase, over all ranks, and log its results.

        Returns
        -------
        dict of str to float
            See `epoch_results`.
        """
        trainer = self._trainer
        if trainer.mode == "train":
            broadcast_buffers(trainer)
        gather_logs(trainer)
        self._display.end()
        computed = trainer._zae_state.records.metrics.compute(trainer.mode)
        metrics = sync_metrics(trainer, {**computed, **checks.metrics(trainer.metric_on_epoch_end())})
        metrics_of(trainer).update(metrics)
        results = log_results(trainer, metrics)
        warn_of_phase(trainer, self._display, self._loader, results)
        return results


def metrics_of(trainer: TrainerProtocol) -> dict[str, Any]:
    """Return the metrics of a trainer in its present mode."""
    return trainer.train_metrics if trainer.mode == "train" else trainer.test_metrics


def results_of(trainer: TrainerProtocol, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the results of a finished phase; see `epoch_results`."""
    left_out, log = trainer._zae_state.records.metrics.inputs, log_of(trainer)
    if trainer._zae_state.config.epoch_means == "samples":
        left_out = left_out | {BATCH_SIZE}
        if not are_weighted(log):
            warnings.warn(
                f"log_{trainer.mode} has values that were not written by logging, so that their number of samples is "
                f'not known: their means are means over batches, in spite of epoch_means="samples".',
                stacklevel=2,
            )
    return epoch_results(log, trainer.mode, metrics, left_out)


def results_of_validation(results: Mapping[str, float]) -> dict[str, float]:
    """Return results of test mode under the names of a validation, ``val_loss`` for ``test_loss``."""
    return {f"val_{key[5:]}": value for key, value in results.items() if key[:5] == "test_"}


def log_results(trainer: TrainerProtocol, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Log the results of a finished phase, and return them."""
    results = results_of(trainer, metrics)
    log_epoch(trainer, results, metrics)
    return results
