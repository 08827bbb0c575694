"""Trainer state: what the package itself stores on a trainer, in one attribute, apart from the user's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from .distributed.gradients import GradientAveraging
from .distributed.world import World
from .epoch_summary import EpochSummary
from .history import History
from .logs.epoch_metrics import EpochMetrics
from .logs.logger_connector import LoggerConnector
from .monitor import LOSS, Monitor
from .precision import Autocast
from .utilities import rng
from .utilities.background_jobs import BackgroundJobs
from .utilities.interrupts import InterruptGuard


class RunDisplay(Protocol):
    """What `run` shows while it runs; `zae_engine.trainer.display.progress_display.ProgressDisplay` implements it."""

    epoch: int

    def start(self, n_batches: int | None) -> None:
        """Begin a phase."""

    def means(self) -> dict[str, float]:
        """Return the running means of the phase."""

    def pause(self) -> Any:
        """Return what `resume` needs."""

    def resume(self, paused: Any) -> None:
        """Continue a paused phase."""

    def batch_done(self, is_empty: bool = False) -> None:
        """Count a batch; ``is_empty`` says that it is ``None``, which runs no step."""

    def has_no_batches(self) -> bool:
        """Whether the phase has no batches other than ``None``, and no phase of this mode had any."""

    def position(self) -> str:
        """Return the epoch and the batch, in words."""

    def end(self) -> None:
        """End a phase."""

    def epoch_line(self, results: Mapping[str, Any], validated: bool, is_best: bool = False) -> None:
        """Write the line of an epoch."""

    def note(self, text: str) -> None:
        """Write a line of text."""

    def curves(self) -> None:
        """Show the live plot, if it is due."""

    def close(self) -> None:
        """End the display."""


class StopRequest(Protocol):
    """A request to stop the run; `zae_engine.trainer.loops.sigterm.SigtermHandler` implements it."""

    def step_done(self) -> None:
        """Stop after a step, if this is requested."""

    def epoch_done(self) -> None:
        """Stop after an epoch, if this is requested."""


class Modes(Protocol):
    """Modes of modules; `zae_engine.trainer.loops.module_modes.ModuleModes` implements it."""

    def set_mode(self, model: Any, mode: str) -> None:
        """Set the modes that a step of train or test mode needs."""


@dataclass
class Config:
    """Settings, as the user gives them.

    Attributes
    ----------
    trainer_kwargs : dict
        Arguments for ``L.Trainer``.
    precision : Autocast
        The precision of forward passes.
    live_plot : bool
        Whether curves are shown after every epoch.
    epoch_means : {"batches", "samples"}
        Whether each batch counts alike in the means of an epoch, or each sample.
    monitor : Monitor
        The result that decides which epoch is the best.
    callback_factories : list of callable
        Functions from the trainer to a Lightning callback. They run before the first run, so that constructing a
        trainer does not import Lightning.
    """

    trainer_kwargs: dict[str, Any] = field(default_factory=dict)
    precision: Autocast = field(default_factory=Autocast)
    live_plot: bool = False
    epoch_means: str = "batches"
    monitor: Monitor = LOSS
    callback_factories: list[Callable[[Any], Any]] = field(default_factory=list)


@dataclass
class Records:
    """What persists from run to run, and in a pickle.

    Attributes
    ----------
    history : History
        The row of every epoch, and the loss of every step.
    metrics : EpochMetrics
        The torchmetrics that receive what the steps return.
    logger_connector : LoggerConnector
        Passes steps and epochs to the loggers.
    lightning_progress : mapping of str to int
        Lightning's counts of epochs and steps; see ``adapters/zae_lightning/progress.py``.
    pending_restore : dict or None
        The loaded state that the next run takes up: callbacks, loaders, the random states of ranks.
    is_synchronised : bool
        Whether the processes of a launcher have begun with the same weights.
    warned_one_device, warned_differing_metrics, warned_batch_size : bool
        Whether the user has been warned of one device, of metrics that differ between ranks, and of a batch whose
        tensors differ in length.
    warned_empty_epoch, warned_not_finite, warned_outputs : bool
        Whether the user has been warned of an epoch without batches, of one without a finite loss, and of a key that is
        nearly "output".
    warned_closure : bool
        Whether the user has been warned of settings that do not suit an optimizer with a closure.
    warned_alone : bool
        Whether the user has been warned of a worker of Ray Train that trains by itself.
    """

    history: History = field(default_factory=History)
    metrics: EpochMetrics = field(default_factory=EpochMetrics)
    logger_connector: LoggerConnector = field(default_factory=LoggerConnector)
    lightning_progress: Mapping[str, int] = field(default_factory=dict)
    pending_restore: dict[str, Any] | None = None
    is_synchronised: bool = False
    warned_one_device: bool = False
    warned_differing_metrics: bool = False
    warned_batch_size: bool = False
    warned_empty_epoch: bool = False
    warned_not_finite: bool = False
    warned_outputs: bool = False
    warned_closure: bool = False
    warned_alone: bool = False


@dataclass
class ProcessState:
    """What belongs to this process; a pickle does not contain it.

    Attributes
    ----------
    world : World or None
        The processes that train together; None for a single process.
    screen : Screen or None
        What displays write on; None for the screen of this process.
    lightning_run : LightningRun or None
        Owns Lightning's trainer of the latest run, and releases the model with this trainer.
    interrupts : InterruptGuard
        Delays Ctrl-C while weights and logs are being updated.
    module_modes : ModuleModes or None
        The modes of the model's modules after the latest run with a Lightning part.
    saves : BackgroundJobs
        The saves that are written while training continues.
    """

    world: World | None = None
    screen: Any = None
    lightning_run: Any = None
    interrupts: InterruptGuard = field(default_factory=InterruptGuard)
    module_modes: Any = None
    saves: BackgroundJobs = field(default_factory=BackgroundJobs)


@dataclass
class RunState:
    """What lasts for one run; a pickle does not contain it.

    Attributes
    ----------
    depth : int
        How many runs and epochs are active, one within another.
    display : RunDisplay or None
        What the run shows.
    active_display : weakref.ref or None
        What shows the current phase, of a run or of a lone epoch.
    sigterm : StopRequest or None
        Handles SIGTERM, during the run of a trainer that can save its state.
    gradient_averaging : GradientAveraging or None
        Averages the gradients over the ranks, while no strategy of Lightning's does.
    epoch_summary : EpochSummary or None
        The epoch that is being finished.
    monitored : float or None
        The result of that epoch that `check_better` compares, while it is called; None for the loss.
    mid_epoch_state : callable or None
        Returns the position within the current epoch, if its loader can resume there.
    validated_weights : dict or None
        The weights that the latest validation of the epoch has used, where training may use others.
    modes : Modes or None
        The modes of the model's modules, while Lightning's loop runs and a Lightning part is in play.
    data_module : LightningDataModule or None
        The data module that the loaders of the run come from.
    is_trial : bool
        Whether the run leaves no trace in loggers and files: with ``fast_dev_run``.
    waits_for_saves : bool
        Whether the run waits at its end for saves that are written in the background.
    """

    depth: int = 0
    display: RunDisplay | None = None
    active_display: Callable[[], RunDisplay | None] | None = None
    sigterm: StopRequest | None = None
    gradient_averaging: GradientAveraging | None = None
    epoch_summary: EpochSummary | None = None
    monitored: float | None = None
    mid_epoch_state: Callable[[], dict[str, Any] | None] | None = None
    validated_weights: dict[str, Any] | None = None
    modes: Modes | None = None
    data_module: Any = None
    is_trial: bool = False
    waits_for_saves: bool = False


@dataclass
class BatchState:
    """What lasts for one batch; a pickle does not contain it.

    Attributes
    ----------
    backward, optimizer_step : callable or None
        What replaces ``loss.backward()`` and ``optimizer.step()`` while Lightning runs an overridden ``run_batch``.
    step_output : mapping or None
        What `run_batch` received from the user's step, where Lightning needs it.
    clip_due : bool
        Whether the gradients of the batch still have to be clipped, after Lightning has unscaled them.
    update_lr : float or None
        The learning rate of the update, where the scheduler has changed it since.
    is_accumulated : bool
        Whether the gradients of the batch are accumulated, so that no update follows it.
    size : int or None
        The number of samples in the batch, for means over samples; None if it is not known.
    logged_size : float, torch.Tensor or None
        The number of samples that the latest logged step counts as; None for means over batches.
    """

    backward: Callable[[torch.Tensor], None] | None = None
    optimizer_step: Callable[[], None] | None = None
    step_output: Mapping[str, Any] | None = None
    clip_due: bool = False
    update_lr: float | None = None
    is_accumulated: bool = False
    size: int | None = None
    logged_size: Any = None


@dataclass
class TrainerState:
    """The package's own part of a trainer, by lifetime.

    Attributes
    ----------
    config : Config
        Settings, as the user gives them.
    records : Records
        What persists from run to run, and in a pickle.
    process : ProcessState
        What belongs to this process.
    run : RunState
        What lasts for one run.
    batch : BatchState
        What lasts for one batch.
    """

    config: Config = field(default_factory=Config)
    records: Records = field(default_factory=Records)
    process: ProcessState = field(default_factory=ProcessState)
    run: RunState = field(default_factory=RunState)
    batch: BatchState = field(default_factory=BatchState)

    @staticmethod
    def random_state() -> dict[str, Any]:
        """Return the states of the random number generators."""
        return rng.random_state()

    @staticmethod
    def set_random_state(state: Mapping[str, Any]) -> None:
        """Set what `random_state` returned."""
        rng.set_random_state(state)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process, to a run or to a batch."""
        fresh = {"process": ProcessState(), "run": RunState(), "batch": BatchState()}
        return {"config": self.config, "records": self.records, **fresh}
