"""Protocols: what the adapter sees of a zae-engine trainer, its state and its hooks, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch


class World(Protocol):
    """The processes that train together, and the place of this one among them."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    launcher: str

    @property
    def nodes(self) -> int:
        """The number of nodes."""


class Screen(Protocol):
    """What a run writes on, in the process of the user."""

    def write(self, text: str) -> None:
        """Write a line."""

    def close(self) -> None:
        """Remove the bar."""


class Precision(Protocol):
    """The precision of a trainer."""

    name: str
    device_type: str
    scaler: torch.amp.GradScaler | None


class Config(Protocol):
    """The settings of a trainer."""

    trainer_kwargs: dict[str, Any]
    callback_factories: list[Callable[[Any], Any]]

    @property
    def precision(self) -> Precision:
        """The precision."""


class LoggerConnector(Protocol):
    """What passes steps and epochs to the loggers."""

    def warn_once(self, logger: Any, method: str, error: Exception) -> None:
        """Warn of a logger that fails, the first time."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the counts."""


class History(Protocol):
    """The records of all epochs."""

    def assign(self, other: Any) -> None:
        """Take over the records of another history."""


class Records(Protocol):
    """What persists from run to run."""

    lightning_progress: Mapping[str, int]

    @property
    def history(self) -> History:
        """The history."""

    @property
    def logger_connector(self) -> LoggerConnector:
        """The logger connector."""


class ProcessState(Protocol):
    """What belongs to a process."""

    world: Any
    screen: Any


class RunState(Protocol):
    """What lasts for a run."""

    @property
    def epoch_summary(self) -> object | None:
        """The epoch that is being finished."""


class TrainerState(Protocol):
    """The package's own part of a trainer."""

    @property
    def config(self) -> Config:
        """The settings."""

    @property
    def records(self) -> Records:
        """What persists from run to run."""

    @property
    def process(self) -> ProcessState:
        """What belongs to this process."""

    @property
    def run(self) -> RunState:
        """What lasts for one run."""

    def random_state(self) -> dict[str, Any]:
        """Return the states of the random number generators."""

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Set what `random_state` returned."""


class TrainerProtocol(Protocol):
    """A trainer, as the adapter needs it."""

    device: list[torch.device]
    primary_device_index: int
    model: Any
    optimizer: Any
    callbacks: Any
    loggers: Any
    lightning_trainer: Any
    _zae_strategy: Any

    @property
    def _zae_state(self) -> TrainerState:
        """The package's own part."""


class Hooks(Protocol):
    """The events of a run; the generated module calls one of these methods from each of Lightning's hooks.

    The methods stand in the order in which they are called.
    """

    loader: Any
    """The training or test loader, or None."""

    valid_loader: Any
    """The validation loader, or None."""

    @property
    def batch_size(self) -> int | None:
        """The training loader's batch size; setting it changes the loader."""

    @batch_size.setter
    def batch_size(self, value: int) -> None: ...

    # The trainer

    @property
    def model(self) -> Any:
        """The user's model."""

    @property
    def mode(self) -> str:
        """The trainer's present mode, ``"train"`` or ``"test"``."""

    @property
    def grad_enabled(self) -> bool:
        """Whether gradients were enabled where the run was started."""

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer | None:
        """The user's present optimizer, if it is a torch optimizer."""

    @property
    def torch_scheduler(self) -> Any:
        """The user's present scheduler, if it is a torch scheduler."""

    @property
    def scheduler_interval(self) -> str:
        """``"step"`` or ``"epoch"``."""

    @property
    def uses_manual_optimization(self) -> bool:
        """Whether ``run_batch`` does all of a batch."""

    @property
    def results(self) -> Mapping[str, float]:
        """The results of the latest epochs, by names such as ``train_loss`` and ``val_loss``."""

    def means(self) -> Mapping[str, float]:
        """Return the running means of the current phase."""

    def to_floats(self, step_dict: Any) -> dict[str, float]:
        """Return the scalars of what a step returned."""

    # The run

    def __enter__(self) -> Any:
        """Start the run."""

    def enter_external_trainer(self, mode: str) -> None:
        """Start, in an ``L.Trainer`` of the user's own that runs in this mode."""

    def __exit__(self, *exception: object) -> None:
        """End the run."""

    def resume_mid_epoch(self) -> tuple[int, bool, bool] | None:
        """Resume in the middle of an epoch, if such a state is loaded.

        Return how many batches are done, whether these are all, and whether the validation there is over; or None.
        """

    def track_position(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Receive what tells how many batches of the training epoch are done, and the loader's own state."""

    def checkpoint(self) -> Mapping[str, Any] | None:
        """Return the loaded checkpoint that the callbacks of this run take up, or None."""

    def state_dict(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""

    def exclude_from_averaging(self, parameters: Iterable[torch.Tensor]) -> None:
        """Leave the gradients of these parameters to Lightning's strategy."""

    # A phase and its batches

    def start_epoch(self) -> None:
        """Start a training or test phase."""

    def begin_batch(self, step: int) -> float:
        """Select a batch of the epoch, and return the factor for its loss; 1 in a single process."""

    def to_device(self, batch: Any) -> Any:
        """Unpack a batch and move it to the device."""

    def train_forward(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run the user's ``train_step``."""

    def test_forward(self, batch: Any) -> Any:
        """Run the user's ``test_step``."""

    def backward(self, backward: Callable[[], None]) -> None:
        """Call Lightning's backward, which averages the gradients over all processes."""

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip the gradients; with ``if_due`` only if a ``run_batch`` has left it to Lightning."""

    def log_step(self, step_dict: Mapping[str, Any]) -> None:
        """Do what follows the optimizer's step: step a per-batch scheduler, log the step, count it."""

    def run_batch(
        self,
        batch: Any,
        backward: Callable[[torch.Tensor], None] | None = None,
        step: Callable[[], None] | None = None,
    ) -> Mapping[str, Any]:
        """Call the user's own ``run_batch``, with these in place of ``loss.backward()`` and ``optimizer.step()``."""

    def run_batch_outside_loop(self, batch: Any) -> None:
        """Run a batch outside Lightning's loop."""

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """Count a batch of the loader, which may be None; with ``is_step`` the run may stop here."""

    # The end of an epoch

    def finish_training(self) -> None:
        """Finish the training phase of an epoch. May be called twice."""

    def start_validation(self, training_over: bool) -> None:
        """Start a validation phase, after the training phase or in the middle of it. May be called twice."""

    def finish_validation(self) -> None:
        """Finish the validation phase."""

    def finish_epoch(self) -> None:
        """Finish the epoch."""
