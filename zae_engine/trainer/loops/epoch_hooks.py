"""Epoch hooks: the events of a single training or test epoch, outside `Trainer.run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .batch_hooks import BatchHooks
from .phase import Phase


class EpochHooks(BatchHooks):
    """One phase in the trainer's present mode; there is no validation and nothing to resume."""

    @property
    def monitor_deferral(self) -> str:  # type: ignore[override]
        """Which callbacks with a monitor wait: there is no validation here, but there may be one in the run."""
        return "missing" if self._outer_display is None else "all"

    def start_epoch(self) -> None:
        """Start the phase."""
        self._training = Phase(self.trainer, self.display, self.loader)
        with self.user_code():
            self._training.start()

    def finish_training(self) -> None:
        """Finish the phase, once."""
        if self._training is not None:
            phase, self._training = self._training, None
            with self.user_code():
                self.results.update(phase.finish())
            self.results.update(self.loader_results.take())

    def finish_epoch(self, is_validation: bool = False) -> None:
        """Finish the phase, if `finish_training` has not."""
        self.finish_training()

    def start_validation(self, training_over: bool = True) -> None:
        """Do nothing."""

    def finish_validation(self) -> None:
        """Do nothing."""

    def resume_mid_epoch(self) -> tuple[int, bool, bool] | None:
        """Return None."""

    def track_position(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Do nothing."""
