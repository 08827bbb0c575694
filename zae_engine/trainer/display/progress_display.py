"""Progress display: one progress bar where there is a terminal or a notebook, and a line for each epoch."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from typing import Any

from .._protocol import TrainerProtocol
from ..distributed.world import is_rank_zero
from ..logs.epoch_log import log_of
from ..logs.epoch_results import means_of
from ..logs.reductions import RunningMeans
from ..optim import learning_rate
from ..overrides import is_overridden
from .epoch_line import EpochLine, shown_values
from .screens import NullScreen, Screen, screen_here

REFRESH_SECONDS = 0.1
PLOTTING_SHARE = 4.0
"""The pause until the curves are drawn again, as a multiple of the time that drawing them took."""


def bar_values(trainer: TrainerProtocol, cur_batch: int, num_batch: int) -> dict[str, str]:
    """Return the values of `Trainer.print_log`."""
    log = {"Batch": f"{cur_batch}/{num_batch}"}
    if (lr := learning_rate(trainer.optimizer)) is not None:
        log["LR"] = f"{lr:.3e}"
    return {**log, **{key: f"{value:.6f}" for key, value in means_of(log_of(trainer)).items()}}


class ProgressDisplay:
    """The progress bar and the epoch lines of one run.

    The bar is drawn ten times a second at most, and reads running sums, so its cost does not grow with the epoch. A
    trainer that overrides `print_log` has it called after every batch, as in 0.7.6.

    Parameters
    ----------
    trainer : Trainer
        Whose progress to show; no bar if its ``log_bar`` is False.
    total_epochs : int, optional
        The number of the run's last epoch; None outside `Trainer.run`.
    shows : bool, optional
        Whether to show the bar and the epoch lines; False where a progress bar of Lightning's shows the progress.

    Attributes
    ----------
    epoch : int
        The number of the current epoch, from 1.
    """

    def __init__(self, trainer: TrainerProtocol, total_epochs: int | None = None, shows: bool = True) -> None:
        self.epoch = trainer.progress_checker.get_epoch()
        self._trainer = trainer
        self._total_epochs = total_epochs
        self._shows = shows
        self._screen: Screen = self._select_screen()
        self._custom_log = is_overridden(trainer, "print_log")
        self._due = 0.0
        self._done = self._n_empty = 0
        self._n_batches: int | None = None
        self._modes_with_batches: set[str] = set()
        self._log: dict[str, Any] = {}
        self._n_drawn, self._curves_due = len(trainer._zae_state.records.history), 0.0

    def _select_screen(self) -> Screen:
        process = self._trainer._zae_state.process
        screen: Screen | None = process.screen
        return screen or (screen_here(self._trainer.log_bar) if is_rank_zero(process.world) else NullScreen())

    def start(self, n_batches: int | None) -> None:
        """Start a phase of ``n_batches`` batches (None: unknown)."""
        trainer = self._trainer
        self._done, self._n_empty, self._n_batches, self._due = 0, 0, n_batches, 0.0
        self._means = RunningMeans(log_of(trainer))
        trainer._zae_state.run.active_display = weakref.ref(self)
        if trainer.log_bar and self._shows:
            self._screen.start(self._title() + (" test" if trainer.mode == "test" else ""), n_batches)

    def means(self) -> dict[str, float]:
        """Return the running means of the current phase."""
        return self._means.read()

    def has_no_batches(self) -> bool:
        """Whether no batch of the phase is other than ``None``, as in all phases of this mode in the run."""
        return self._done == self._n_empty and self._trainer.mode not in self._modes_with_batches

    def position(self) -> str:
        """Return the epoch and the batch that runs, such as ``"epoch 2, batch 7"``; both count from 1."""
        batch = f"batch {self._done + 1}"
        return batch if self._total_epochs is None else f"epoch {self.epoch}, {batch}"

    def pause(self) -> Any:
        """Return what `resume` needs to continue the current phase later."""
        return self._done, self._n_batches, self._means, self._n_empty

    def resume(self, paused: Any) -> None:
        """Continue a paused phase."""
        self.start(paused[1])
        self._done, self._n_batches, self._means, self._n_empty = paused

    def batch_done(self, is_empty: bool = False) -> None:
        """Count one batch, and redraw the bar if it is due; ``is_empty`` says that the batch is ``None``."""
        self._done += 1
        self._n_empty += is_empty
        if self._custom_log:
            total = self._n_batches if self._n_batches is not None else self._done
            self._log = self._trainer.print_log(cur_batch=self._done, num_batch=total)
        if self._trainer.log_bar and self._shows and time.monotonic() >= self._due:
            self._draw()

    def end(self) -> None:
        """Draw the last state of the phase."""
        if self._done > self._n_empty:
            self._modes_with_batches.add(self._trainer.mode)
        if self._trainer.log_bar and self._shows and self._done:
            self._draw()

    def epoch_line(self, results: Mapping[str, Any], validated: bool, is_best: bool = False) -> None:
        """Write what the epoch came to; see `EpochLine.text`.

        Parameters
        ----------
        results : mapping
            The row of the history, or the results of a test epoch with their ``"seconds"``.
        validated : bool
            Whether a training epoch had a validation.
        is_best : bool, optional
            Whether the epoch is better than all before.
        """
        trainer, values = self._trainer, {}
        if trainer.mode == "train":
            values["train"] = _values("train", results, trainer.train_metrics)
        if trainer.mode == "test" or validated:
            values["test"] = _values("test", results, trainer.test_metrics)
        if self._shows:
            self._screen.epoch(EpochLine(self._title(), self.epoch, values, results.get("seconds"), is_best))

    def note(self, text: str) -> None:
        """Write a line of text."""
        if self._shows:
            self._screen.write(text)

    def curves(self) -> None:
        """Show the curves of all epochs, if the trainer has a ``live_plot`` and the pause after the last is over."""
        if self._trainer._zae_state.config.live_plot and time.monotonic() >= self._curves_due:
            self._draw_curves()

    def close(self) -> None:
        """Remove the bar, and show the curves of the latest epochs."""
        state = self._trainer._zae_state
        if state.config.live_plot and self._total_epochs is not None and len(state.records.history) > self._n_drawn:
            self._draw_curves()
        self._screen.close()

    def _draw_curves(self) -> None:
        history, start = self._trainer._zae_state.records.history, time.monotonic()
        self._screen.plot(history)
        self._n_drawn = len(history)
        self._curves_due = time.monotonic() + PLOTTING_SHARE * (time.monotonic() - start)

    def _title(self) -> str:
        return "One epoch" if self._total_epochs is None else f"Epoch {self.epoch}/{self._total_epochs}"

    def _draw(self) -> None:
        self._due = time.monotonic() + REFRESH_SECONDS
        if self._screen.is_due() is False:
            return
        if self._custom_log:
            log = {key: value for key, value in dict(self._log or ()).items() if key != "Batch"}  # the bar has it
        else:
            log = {key: f"{value:.6f}" for key, value in self._means.read().items()}
            if (lr := learning_rate(self._trainer.optimizer)) is not None:
                log["LR"] = f"{lr:.3e}"  # last, where a narrow terminal cuts off
        self._screen.update(self._done, log)
        self._due = time.monotonic() + REFRESH_SECONDS  # after the time that it took


def _values(mode: str, results: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the results of a mode as texts, and the metrics that are no numbers."""
    start = f"{mode}_"
    found = {key[len(start) :]: value for key, value in results.items() if key.startswith(start)}
    others = {key: value for key, value in metrics.items() if key not in found and f"{key}_metric" not in found}
    return shown_values({**found, **others})
