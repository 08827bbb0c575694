"""What the adapter sees of a zae-engine trainer: this, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class Hooks(Protocol):
    """The moments of a run; the generated module calls one of these from each of Lightning's hooks.

    The methods stand in the order in which they are called.
    """

    @property
    def model(self) -> Any:
        """The user's model."""

    @property
    def optimizer(self) -> Any:
        """The user's optimizer, or None."""

    @property
    def scheduler(self) -> Any:
        """The user's scheduler, or None."""

    @property
    def scheduler_interval(self) -> str:
        """``"step"`` or ``"epoch"``."""

    @property
    def owns_batches(self) -> bool:
        """Whether the user's ``run_batch`` does the whole of a batch."""

    def epoch_starts(self) -> None:
        """A training or test epoch begins."""

    def to_device(self, batch: Any) -> Any:
        """Unpack a batch and move it to the device."""

    def train_forward(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run the user's ``train_step``."""

    def test_forward(self, batch: Any) -> Mapping[str, Any]:
        """Run the user's ``test_step``."""

    def clip_gradients(self, if_due: bool = False) -> None:
        """Clip the gradients; with ``if_due`` only if a ``run_batch`` in hand has left it to Lightning."""

    def finish(self, step_dict: Mapping[str, Any]) -> None:
        """Step a per-batch scheduler, log, count: all that follows the optimizer's step."""

    def run_batch(
        self, batch: Any, optimizer: Any = None, backward: Callable[[torch.Tensor], None] | None = None
    ) -> Mapping[str, Any]:
        """Call the user's own ``run_batch``."""

    def batch_done(self, batch: Any) -> None:
        """A batch is over; None where the loader gave None."""

    def validation_starts(self) -> None:
        """The training part of an epoch is over and validation begins. May be called twice."""

    def validation_ends(self) -> None:
        """Validation is over."""

    def epoch_ends(self) -> None:
        """The epoch is over."""
