"""What the adapter sees of a zae-engine trainer: this, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch


class Facade(Protocol):
    """A trainer, as the runtime needs it."""

    device: list[torch.device]
    primary_device_index: int
    model: Any
    optimizer: Any
    callbacks: list[Any]
    loggers: list[Any]
    lightning_trainer: Any
    _zae_state: Any
    _zae_strategy: Any


class Hooks(Protocol):
    """The moments of a run; the generated module calls one of these from each of Lightning's hooks.

    The methods stand in the order in which they are called.
    """

    @property
    def model(self) -> Any:
        """The user's model."""

    def __enter__(self) -> Any:
        """The run begins."""

    def open(self, mode: str) -> None:
        """Begin, in an ``L.Trainer`` of the user's own that runs in this mode."""

    def __exit__(self, *exception: object) -> None:
        """The run is over."""

    @property
    def mode(self) -> str:
        """``"train"`` or ``"test"``, at this moment."""

    @property
    def grad_enabled(self) -> bool:
        """Whether gradients were on where the run was started."""

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer | None:
        """The user's optimizer, at this moment, if it is torch's."""

    @property
    def torch_scheduler(self) -> Any:
        """The user's scheduler, if it is torch's."""

    @property
    def scheduler_interval(self) -> str:
        """``"step"`` or ``"epoch"``."""

    @property
    def owns_batches(self) -> bool:
        """Whether ``run_batch`` does the whole of a batch."""

    def epoch_starts(self) -> None:
        """A training or test epoch begins."""

    def resumes(self) -> tuple[int, bool, bool] | None:
        """Go on in the middle of an epoch that was loaded.

        Return how many batches it had, whether these were all, and whether a validation was over; or None.
        """

    def progresses(self, position: Callable[[], tuple[int, Any] | None]) -> None:
        """Take what tells how many batches of the training epoch are done, and the loader's own state."""

    def checkpoint(self) -> Mapping[str, Any] | None:
        """Return what has been loaded for the callbacks of this run, or None."""

    def state(self) -> dict[str, Any]:
        """Return the trainer's part of a checkpoint, plain values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make the trainer what it was when `state` was called."""

    def strategy_has(self, parameters: Iterable[torch.Tensor]) -> None:
        """Lightning's strategy averages the gradients of these parameters, which it knows from now on."""

    def numbers(self, step_dict: Any) -> dict[str, float]:
        """Return the single numbers among what a step returned."""

    def means(self) -> Mapping[str, float]:
        """Return the running means of the epoch under way."""

    def take(self, step: int) -> float:
        """Turn to a batch of the epoch, and return the factor for its loss; 1 but in several processes."""

    def to_device(self, batch: Any) -> Any:
        """Unpack a batch and move it to the device."""

    def train_forward(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run the user's ``train_step``."""

    def test_forward(self, batch: Any) -> Any:
        """Run the user's ``test_step``."""

    def backward(self, backward: Callable[[], None]) -> None:
        """Call Lightning's backward, which averages the gradients over all processes."""

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip the gradients; with ``if_due`` only if a ``run_batch`` in hand has left it to Lightning."""

    def finish(self, step_dict: Mapping[str, Any]) -> None:
        """Step a per-batch scheduler, log, count: all that follows the optimizer's step."""

    def run_batch(
        self,
        batch: Any,
        backward: Callable[[torch.Tensor], None] | None = None,
        step: Callable[[], None] | None = None,
    ) -> Mapping[str, Any]:
        """Call the user's own ``run_batch``, with these in place of ``loss.backward()`` and ``optimizer.step()``."""

    def run_alone(self, batch: Any) -> None:
        """Run a batch outside Lightning's loop."""

    def batch_done(self, batch: Any, is_step: bool = False) -> None:
        """A batch is over; None where the loader gave None. The run may be stopped where ``is_step`` says so."""

    loader: Any
    """The training loader, or None."""

    valid_loader: Any
    """The validation loader, or None."""

    batch_size: int | None
    """The training loader's batch size; setting it changes the loader."""

    @property
    def results(self) -> Mapping[str, float]:
        """What the latest epochs have come to, by names such as ``train_loss`` and ``val_loss``."""

    def training_ends(self) -> None:
        """The training part of an epoch is over. May be called twice."""

    def validation_starts(self, training_over: bool) -> None:
        """Validation begins, after the training part of an epoch or in the middle of it. May be called twice."""

    def validation_ends(self) -> None:
        """Validation is over."""

    def epoch_ends(self) -> None:
        """The epoch is over."""
