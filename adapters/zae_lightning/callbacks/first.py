"""The first callback of a run: closes the books of an epoch before any other callback reads them."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback


class EpochBooks(Callback):
    """Has the generated module take the results of an epoch before other callbacks hear that it is over.

    Lightning calls callbacks before the module, but what a LightningModule logs in its steps is in ``callback_metrics``
    by then. What zae-engine's steps return is averaged when the epoch is over, so it has to be done first.
    """

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of training."""
        pl_module.training_ends()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of validation."""
        pl_module.on_validation_epoch_end()

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the results of a test."""
        pl_module.on_test_epoch_end()
