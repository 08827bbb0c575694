"""The first callback of a run: resumes the others, and closes the books of an epoch before any of them reads these."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch.callbacks import Callback

from ..callback_states import resume_callbacks


class EpochResultsCallback(Callback):
    """Has the generated module take the results of an epoch before other callbacks hear that it is over.

    Lightning calls callbacks before the module, but what a LightningModule logs in its steps is in ``callback_metrics``
    by then. What zae-engine's steps return is averaged when the epoch is over, so it has to be done first.
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Give callbacks what has been loaded for them; all have been set up by now, and none has begun."""
        checkpoint = pl_module.hooks.checkpoint()
        if checkpoint is not None:
            resume_callbacks(trainer, pl_module, checkpoint)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of training."""
        pl_module.finish_training()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of validation."""
        pl_module.on_validation_epoch_end()

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of a test."""
        pl_module.on_test_epoch_end()


class ProgressBarMetrics(Callback):
    """Gives Lightning's progress bars the means that zae-engine's own bar shows, as often as that is drawn.

    Parameters
    ----------
    seconds : float, optional
        The time from one reading to the next.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self._seconds, self._due = seconds, 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Read the means, if it is time to."""
        if time.monotonic() >= self._due or trainer.is_last_batch:
            trainer.progress_bar_metrics.update(pl_module.hooks.means())
            self._due = time.monotonic() + self._seconds

    def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
        """As `on_train_batch_end`."""
        if not trainer.sanity_checking:
            self.on_train_batch_end(trainer, args[0], *args[1:4])
