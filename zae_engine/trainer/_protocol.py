"""Trainer protocol: what loops, checkpoints, displays and add-ons see of a trainer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Protocol, TypeVar

import torch

from ._state import TrainerState
from .progress import ProgressChecker
from .utilities.modes import Mode


class TrainerProtocol(Protocol):
    """A trainer, as the rest of the package sees it; `zae_engine.trainer.Trainer` implements it.

    `Trainer` documents the attributes and methods. Users override all of them, so that callers go through the trainer.
    """

    model: Any
    device: list[torch.device]
    primary_device_index: int
    mode: Mode
    optimizer: Any
    scheduler: Any
    log_bar: Any
    scheduler_step_on_batch: bool
    gradient_clip: float
    loader: Any
    valid_loader: Any
    batch_size: int | None
    valid_batch_size: int | None
    callbacks: Any
    loggers: Any
    lightning_trainer: Any
    log_train: defaultdict[str, list[Any]]
    log_test: defaultdict[str, list[Any]]
    train_metrics: dict[str, Any]
    test_metrics: dict[str, Any]
    loss_buffer: float
    weight_buffer: defaultdict[str, list[Any]]
    progress_checker: ProgressChecker
    _zae_state: TrainerState
    _zae_is_distributed: bool
    _zae_strategy: Any

    def train_step(self, batch: Any, /) -> dict[str, Any]:
        """Compute the loss of a batch."""

    def test_step(self, batch: Any, /) -> dict[str, Any]:
        """Test on a batch."""

    def predict_step(self, batch: Any) -> Any:
        """Return the output of a batch."""

    def run_epoch(self, loader: Any, **kwargs: Any) -> None:
        """Run one epoch."""

    def run_batch(self, batch: Any, **kwargs: Any) -> None:
        """Run one batch."""

    def logging(self, step_dict: Any) -> None:
        """Log what a step returned."""

    def log_reset(self, epoch_end: bool = False) -> None:
        """Clear the logs."""

    def metric_on_epoch_end(self) -> dict[str, Any]:
        """Compute the metrics of an epoch."""

    def print_log(self, cur_batch: int, num_batch: int) -> dict[str, str]:
        """Return what the bar shows."""

    def toggle(self, mode: Mode | None = None) -> None:
        """Switch the mode."""

    def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
        """Compare the loss of an epoch with the best loss."""

    def metric_inputs(self, step_dict: dict[str, Any]) -> Any:
        """Return the arguments for the metrics."""

    def configure_model(self, device_mesh: Any) -> None:
        """Shard the model."""

    def _to_cpu(self, *args: Any) -> Any:
        """Move values to the CPU."""

    def _to_device(self, *args: Any, **kwargs: Any) -> Any:
        """Move a batch to the device."""

    def _data_count(self, initial: bool = False) -> None:
        """Count the samples that are left."""


T = TypeVar("T", bound=TrainerProtocol)
