"""Epoch results: the callbacks that provide results and means to the callbacks after them."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch.callbacks import Callback

from ..callback_states import resume_callbacks


class EpochResultsCallback(Callback):
    """The first callback of a run: it finishes an epoch in the module before other callbacks read its results.

    Lightning calls callbacks before the module. The metrics that a LightningModule logs in its steps are in
    ``callback_metrics`` by then, but zae-engine averages the steps' outputs at the end of an epoch.
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Restore the loaded states of callbacks, between their ``setup`` and their ``on_fit_start``."""
        pl_module.note_optimizer()
        checkpoint = None if pl_module.is_in_external_trainer else pl_module.hooks.checkpoint()
        if checkpoint is not None:
            resume_callbacks(trainer, pl_module, checkpoint)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish the training phase."""
        pl_module.finish_training()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish the validation phase."""
        pl_module.on_validation_epoch_end()

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish the test epoch."""
        pl_module.on_test_epoch_end()


class ProgressBarMetrics(Callback):
    """Writes the running means of zae-engine's bar into ``progress_bar_metrics``, for Lightning's progress bars.

    Parameters
    ----------
    seconds : float, optional
        The interval of the updates.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self._seconds, self._next_update = seconds, 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the means, if the interval is over."""
        if time.monotonic() >= self._next_update or trainer.is_last_batch:
            trainer.progress_bar_metrics.update(pl_module.hooks.means())
            self._next_update = time.monotonic() + self._seconds

    def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
        """Update the means, except in a sanity check."""
        if not trainer.sanity_checking:
            self.on_train_batch_end(trainer, args[0], *args[1:4])
