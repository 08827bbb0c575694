"""What the package itself keeps on a trainer, in one attribute, so that it meets no name of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .autocast import Autocast
from .epoch_metrics import EpochMetrics
from .feed import LoggerFeed
from .history import History
from .interrupts import Interrupts
from .ranks import randomness

if TYPE_CHECKING:
    from .display import Display
    from .ranks import GradientAveraging, World
    from .termination import Termination

_OF_THIS_PROCESS = (
    "step",
    "display",
    "screen",
    "world",
    "averaging",
    "backward",
    "optimizer_step",
    "ending",
    "underway",
    "termination",
)


@dataclass
class State:
    """The package's own part of a trainer.

    Attributes
    ----------
    display : Display or None
        What `run` shows, while it runs.
    counts : mapping of str to int
        Lightning's counts of epochs and steps, carried from run to run; see ``adapters/zae_lightning/counts.py``.
    backward, optimizer_step : callable or None
        What replaces ``loss.backward()`` and ``optimizer.step()`` while Lightning runs an overridden ``run_batch``.
    step : mapping or None
        What `run_batch` got from the user's step, where Lightning waits for it.
    clip_due : bool
        Whether the gradients of the batch in hand are still to be clipped, after Lightning has unscaled them.
    rate : float or None
        The learning rate of the update in hand, where the scheduler has changed it since.
    running : int
        How many runs and epochs are under way, one within another.
    autocast : Autocast
        The precision of forward passes.
    feed : LoggerFeed
        Hands steps and epochs to the loggers.
    lightning : dict
        Arguments for ``L.Trainer``, as the user gave them.
    world : World or None
        The processes that this one trains together with.
    screen : Screen or None
        What displays draw on, if it is not this process's own stderr.
    averaging : GradientAveraging or None
        What averages the gradients over the ranks, while no strategy of Lightning's does.
    told_of_one_device : bool
        Whether the user knows that a trainer for several devices has one.
    told_of_differing_metrics : bool
        Whether the user knows that ranks have computed different metrics.
    is_synchronised : bool
        Whether the processes of a launcher have begun with the same weights.
    metrics : EpochMetrics
        torchmetrics that are fed from the steps.
    history : History
        What every epoch came to, and the loss of every step.
    live_plot : bool
        Whether curves are shown after every epoch.
    termination : Termination or None
        Waits for SIGTERM, during the run of a trainer that can save its state.
    interrupts : Interrupts
        Keeps Ctrl-C out of updates and of the books.
    ending : mapping or None
        What the epoch that is ending came to, until its books are closed; see `resume.finish_epoch`.
    underway : callable or None
        Returns how far the epoch in hand has come, if its loader can go on from there; see `resume.underway`.
    to_resume : dict or None
        What has been loaded and waits for the next run: callbacks, loaders, the random states of ranks.
    callback_makers : list of callable
        Functions from the trainer to a Lightning callback; called before the first run, so that constructing a trainer
        need not import Lightning.
    """

    display: Display | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    backward: Callable[[torch.Tensor], None] | None = None
    optimizer_step: Callable[[], None] | None = None
    step: Mapping[str, Any] | None = None
    clip_due: bool = False
    rate: float | None = None
    running: int = 0
    autocast: Autocast = field(default_factory=Autocast)
    feed: LoggerFeed = field(default_factory=LoggerFeed)
    lightning: dict[str, Any] = field(default_factory=dict)
    world: World | None = None
    screen: Any = None
    averaging: GradientAveraging | None = None
    told_of_one_device: bool = False
    told_of_differing_metrics: bool = False
    is_synchronised: bool = False
    metrics: EpochMetrics = field(default_factory=EpochMetrics)
    history: History = field(default_factory=History)
    live_plot: bool = False
    ending: Mapping[str, Any] | None = None
    underway: Callable[[], dict[str, Any] | None] | None = None
    to_resume: dict[str, Any] | None = None
    termination: Termination | None = None
    interrupts: Interrupts = field(default_factory=Interrupts)
    callback_makers: list[Callable[[Any], Any]] = field(default_factory=list)

    @staticmethod
    def random_state() -> dict[str, Any]:
        """Return the states of the random number generators."""
        return randomness.random_state()

    @staticmethod
    def set_random_state(state: Mapping[str, Any]) -> None:
        """Set what `random_state` returned."""
        randomness.set_random_state(state)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run under way, or to this process."""
        return {**self.__dict__, **dict.fromkeys(_OF_THIS_PROCESS), "running": 0}
