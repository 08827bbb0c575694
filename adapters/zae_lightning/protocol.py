"""Protocols: the attributes and methods that the adapter uses of a trainer, its state and its hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch


class World(Protocol):
    """The processes that train together, with the rank of this process."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    launcher: str

    @property
    def nodes(self) -> int:
        """The number of nodes."""


class Screen(Protocol):
    """The display of a run, in the process that started it."""

    def write(self, text: str) -> None:
        """Write a line."""

    def close(self) -> None:
        """Remove the bar."""


class PrecisionConfig(Protocol):
    """The precision of a trainer's forward passes."""

    name: str
    device_type: str
    scaler: torch.amp.GradScaler | None


class Config(Protocol):
    """The settings of a trainer."""

    trainer_kwargs: dict[str, Any]
    callback_factories: list[Callable[[Any], Any]]

    @property
    def precision(self) -> PrecisionConfig:
        """The precision."""


class LoggerConnector(Protocol):
    """The part of a trainer that passes steps and epochs to the loggers."""

    def warn_once(self, logger: Any, method: str, error: Exception) -> None:
        """Warn once for each logger that raises an exception."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the counters."""


class History(Protocol):
    """The rows of all epochs."""

    def assign(self, other: Any) -> None:
        """Replace the rows by those of another history."""


class Records(Protocol):
    """The part of the state that persists from run to run."""

    lightning_progress: Mapping[str, int]

    @property
    def history(self) -> History:
        """The history."""

    @property
    def logger_connector(self) -> LoggerConnector:
        """The logger connector."""


class ProcessState(Protocol):
    """The part of the state that belongs to one process."""

    @property
    def world(self) -> World | None:
        """The processes that train together; None for a single process."""

    @world.setter
    def world(self, value: Any) -> None: ...

    screen: Any
    lightning_run: Any


class RunState(Protocol):
    """The part of the state that lasts for one run."""

    data_module: Any

    @property
    def epoch_summary(self) -> object | None:
        """The epoch that is being finished."""


class TrainerState(Protocol):
    """The state that the package stores on a trainer."""

    @property
    def config(self) -> Config:
        """The settings."""

    @property
    def records(self) -> Records:
        """The part that persists from run to run."""

    @property
    def process(self) -> ProcessState:
        """The part that belongs to this process."""

    @property
    def run(self) -> RunState:
        """The part that lasts for one run."""

    def random_state(self) -> dict[str, Any]:
        """Return the states of the random number generators."""

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore the states that `random_state` returned."""


class TrainerProtocol(Protocol):
    """The trainer that the adapter runs."""

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
        """The state that the package stores on the trainer."""


class SavingTrainer(Protocol):
    """A trainer with ``StateManagerAddon``."""

    saved_loss: float | None

    def state_file(self, part: str) -> str:
        """Return the path of the file of ``"model"``, ``"optimizer"`` or ``"scheduler"``, once it is complete."""

    def _zae_path(self, part: str) -> str:
        """Return the path of a file, which may be incomplete."""

    def _zae_complete_state(self) -> None:
        """Save the callbacks' states again."""


class LoaderResults(Protocol):
    """The results of each of several validation loaders."""

    def add(self, index: int, step_dict: Mapping[str, Any], size: Any = None) -> None:
        """Add what a step on a loader returned, for so many samples."""


class Hooks(Protocol):
    """The events of a run: each of Lightning's hooks in the generated module calls one of these methods.

    The methods are listed in the order of the calls.
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
        """The user's model; a callback may set another one."""

    @model.setter
    def model(self, value: Any) -> None: ...

    @property
    def mode(self) -> str:
        """The trainer's current mode, ``"train"`` or ``"test"``."""

    scheduler_is_replaced: bool
    """Whether a callback has put another scheduler in the place of the user's."""

    validates_elsewhere: bool
    """Whether the user's ``L.Trainer`` has validation data."""

    def end_validation(self) -> None:
        """Switch an optimizer with modes back, after a validation and its callbacks."""

    @property
    def clips_gradients(self) -> bool:
        """Whether the trainer clips the gradients of all the model's parameters."""

    @property
    def monitor_deferral(self) -> str:
        """Which callbacks with a monitor wait at the end of an epoch; see `zae_lightning.monitors`."""

    @property
    def grad_enabled(self) -> bool:
        """Whether gradients were enabled when the run started."""

    @property
    def follows_lightning(self) -> bool:
        """Whether a Lightning part is in play, so that modes, gradients, schedulers and metrics are Lightning's."""

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer | None:
        """The trainer's optimizer; None unless it is a torch optimizer. A callback may set another one."""

    @torch_optimizer.setter
    def torch_optimizer(self, value: torch.optim.Optimizer) -> None: ...

    @property
    def torch_scheduler(self) -> Any:
        """The trainer's scheduler; None unless it is a torch scheduler."""

    @property
    def scheduler_interval(self) -> str:
        """The unit of the scheduler's steps: ``"step"`` or ``"epoch"``."""

    @property
    def uses_manual_optimization(self) -> bool:
        """Whether the user overrides ``run_batch``, so that Lightning runs it with manual optimization."""

    @property
    def results(self) -> Mapping[str, float]:
        """The results of the latest epoch of each phase, such as ``train_loss`` and ``val_loss``."""

    def means(self) -> Mapping[str, float]:
        """Return the running means of the current phase."""

    def to_floats(self, step_dict: Any) -> dict[str, float]:
        """Return the scalars of a step's output."""

    @property
    def loader_results(self) -> LoaderResults:
        """The results of each of several validation loaders."""

    @property
    def logged_size(self) -> Any:
        """The number of samples that the latest logged step counts as; None for means over batches."""

    # The run

    def __enter__(self) -> Any:
        """Start the run."""

    def enter_external_trainer(self, mode: str, has_bar: bool = False, is_trial: bool = False) -> None:
        """Start a run inside the user's ``L.Trainer``, in this mode.

        ``has_bar`` says whether that shows a bar; ``is_trial``, whether the run leaves no trace.
        """

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End the run; what fails here does not replace the exception that ends it."""

    def resume_mid_epoch(self) -> tuple[int, bool, bool] | None:
        """Resume in the middle of an epoch, if such a state is loaded; otherwise return None.

        Return the number of finished batches, whether the epoch has no more, and whether the validation is finished.
        """

    def track_position(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Store a function that returns the number of finished batches of the epoch, and the loader's state."""

    def checkpoint(self) -> Mapping[str, Any] | None:
        """Return the loaded checkpoint for the callbacks of this run; None without one."""

    def state_dict(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint as plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""

    def records(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, with optimizer and scheduler, for another process."""

    def load_records(self, records: Mapping[str, Any]) -> None:
        """Restore what `records` returned."""

    def exclude_from_averaging(self, parameters: Iterable[torch.Tensor]) -> None:
        """Exclude parameters whose gradients Lightning's strategy averages."""

    # A sharded model

    @property
    def shards_model(self) -> bool:
        """Whether the trainer shards its model, where the strategy has a device mesh."""

    def configure_model(self, device_mesh: Any) -> None:
        """Shard the model, unless it is sharded already."""

    def clip_norm(self, parameters: list[torch.Tensor], max_norm: float) -> None:
        """Clip the norm of gradients, of which some are sharded."""

    def check_shares(self, scale: float, output: Mapping[str, Any]) -> None:
        """Raise an error if an overridden ``run_batch`` has weighted the samples of a sharded model wrongly."""

    # Modes

    def enter_loop(self) -> None:
        """Let callbacks set the modes of modules, where they are in play, until the end of the run."""

    def enter_evaluation(self, module: torch.nn.Module) -> None:
        """Switch the module to eval mode, where a Lightning part is in play."""

    def leave_evaluation(self) -> None:
        """Restore the modes before `enter_evaluation`."""

    def user_code(self) -> AbstractContextManager[None]:
        """Return a context for the user's methods, with the modes that they would have in 0.7.6."""

    # A phase and its batches

    def start_epoch(self) -> None:
        """Start a training or test phase."""

    def begin_batch(self, step: int) -> float:
        """Select a batch of the epoch; return the factor of its loss, which is 1 in a single process."""

    def to_device(self, batch: Any) -> Any:
        """Unpack a batch and move it to the device."""

    def call_train_step(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run the user's ``train_step``."""

    def predict_forward(self, batch: Any) -> Any:
        """Run ``predict_step`` on a batch of the loader."""

    def call_test_step(self, batch: Any) -> Any:
        """Run the user's ``test_step``."""

    def backward(self, backward: Callable[[], None]) -> None:
        """Call Lightning's backward pass, which averages the gradients over all processes."""

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip the gradients; with ``if_due``, only if ``run_batch`` has delegated it to Lightning."""

    def log_step(self, step_dict: Mapping[str, Any], is_update: bool = True) -> None:
        """Finish a step: step a per-batch scheduler if the weights are updated, log the step and count it."""

    def run_batch(
        self,
        batch: Any,
        backward: Callable[[torch.Tensor], None] | None = None,
        step: Callable[[], None] | None = None,
    ) -> Mapping[str, Any]:
        """Call the user's ``run_batch``; these functions replace ``loss.backward()`` and ``optimizer.step()``."""

    def run_batch_outside_loop(self, batch: Any) -> None:
        """Run a batch outside Lightning's loop."""

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """Count a batch, which may be None; with ``is_step``, stop the run here if that is requested."""

    # The end of an epoch

    def finish_training(self) -> None:
        """Finish the training phase of an epoch. A second call has no effect."""

    def start_validation(self, training_over: bool) -> None:
        """Start a validation phase, after the training phase or within it. A second call has no effect."""

    def finish_validation(self) -> None:
        """Finish the validation phase."""

    def finish_epoch(self, is_validation: bool = False) -> None:
        """Finish the epoch; a validation's results have the names of validations too."""
