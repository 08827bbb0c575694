"""Pair: one classification problem as a hand-written LightningModule and as a zae-engine trainer.

Both compute the same numbers in the same order. The hand-written module logs under the names that zae-engine gives:
``train_<k>``, ``val_<k>`` and ``test_<k>`` for callbacks; ``<k>``, ``lr`` and ``test_<k>`` for loggers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import pytorch_lightning as PL
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

Values = dict[str, Any]


def dataset(size: int = 24, seed: int = 1) -> TensorDataset:
    x = torch.randn(size, 10, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x.sum(1) > 0).long())


def train_loader(**options: Any) -> DataLoader:
    """Return three batches of eight in a fixed order."""
    return DataLoader(options.pop("data", None) or dataset(), **{"batch_size": 8, **options})


def valid_loader(**options: Any) -> DataLoader:
    """Return two batches of six in a fixed order."""
    return DataLoader(options.pop("data", None) or dataset(12, seed=2), **{"batch_size": 6, **options})


class WithNorm(nn.Module):
    """A backbone with batch norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def train_values(model: nn.Module, batch: Any) -> Values:
    x, y = batch
    output = model(x)
    return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean()}


def test_values(model: nn.Module, batch: Any) -> Values:
    x, y = batch
    output = model(x)
    return {"loss": F.cross_entropy(output, y), "output": output}


test_values.__test__ = False


class HandWritten:
    """What a user of Lightning writes by hand; mixed into either package's ``LightningModule``."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        scheduler: Any = None,
        *,
        per_batch: bool = False,
        train: Callable[..., Values] = train_values,
        test: Callable[..., Values] = test_values,
        epoch_metrics: Callable[[str], Values] | None = None,
        monitor: str = "val_loss",
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer, self.scheduler = optimizer, scheduler
        self.per_batch, self.monitor = per_batch, monitor
        self.train_function, self.test_function, self.epoch_metrics = train, test, epoch_metrics
        self.test_losses: list[float] = []
        self.best_loss, self.best_state, self.validated = float("inf"), {}, {}
        if hasattr(model, "example_input_array"):
            self.example_input_array = model.example_input_array

    def forward(self, *args: Any) -> Any:
        return self.model(*args)

    def configure_optimizers(self) -> Any:
        if self.scheduler is None:
            return self.optimizer
        entry = {"scheduler": self.scheduler, "interval": "step" if self.per_batch else "epoch"}
        if isinstance(self.scheduler, ReduceLROnPlateau):
            entry |= {"monitor": self.monitor, "strict": False}
        return {"optimizer": self.optimizer, "lr_scheduler": entry}

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def training_step(self, batch: Any, batch_idx: int) -> Values:
        values = self.train_function(self.model, batch)
        self.log_training(values)
        return values

    @torch.compiler.disable
    def log_training(self, values: Values) -> None:
        for key, value in values.items():
            self.log(f"train_{key}", value, on_step=True, on_epoch=True, logger=False, batch_size=1)
            self.log(key, value, on_step=True, on_epoch=False, prog_bar=True, batch_size=1)
        if self.trainer.optimizers:
            self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)

    def on_validation_epoch_start(self) -> None:
        self.test_losses = []

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Values:
        values = self.test_function(self.model, batch)
        self.validated = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        for key, value in scalars(values).items():
            self.log(f"val_{key}", value, logger=False, batch_size=1, sync_dist=True)
            self.log(f"test_{key}", value, batch_size=1, sync_dist=True)
        self.test_losses.append(float(values.get("loss", float("nan"))))
        return values

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Values:
        values = self.test_function(self.model, batch)
        for key, value in scalars(values).items():
            self.log(f"test_{key}", value, batch_size=1)
        return values

    def predict_step(self, batch: Any, *args: Any) -> Any:
        values = self.test_function(self.model, batch)
        return values.get("output", values)

    def on_validation_epoch_end(self) -> None:
        """Log epoch metrics, and keep the weights that were validated where their loss is the best one."""
        for key, value in (self.epoch_metrics("test") if self.epoch_metrics else {}).items():
            self.log(f"val_{key}", value, logger=False)
            self.log(f"test_{key}", value)
        loss = sum(self.test_losses) / max(len(self.test_losses), 1)
        if self.test_losses and not self.trainer.sanity_checking and loss < self.best_loss:
            self.best_loss, self.best_state = loss, self.validated

    def on_train_epoch_end(self) -> None:
        for key, value in (self.epoch_metrics("train") if self.epoch_metrics else {}).items():
            self.log(f"train_{key}", value)


class HandWrittenModule(HandWritten, L.LightningModule):
    """For ``lightning.pytorch``."""


class HandWrittenForeignModule(HandWritten, PL.LightningModule):
    """For ``pytorch_lightning``."""


class Classifier(Trainer):
    """The same as a zae-engine trainer."""

    train_function: Callable[..., Values] = staticmethod(train_values)
    test_function: Callable[..., Values] = staticmethod(test_values)
    epoch_metrics: Callable[[str], Values] | None = None

    def train_step(self, batch: Any) -> Values:
        return self.train_function(self.model, batch)

    def test_step(self, batch: Any) -> Values:
        return self.test_function(self.model, batch)

    def predict_step(self, batch: Any) -> Any:
        values = self.test_function(self.model, batch)
        return values.get("output", values)

    def metric_on_epoch_end(self) -> Values:
        return self.epoch_metrics(self.mode) if self.epoch_metrics else super().metric_on_epoch_end()


def scalars(values: Values) -> Values:
    return {key: value for key, value in values.items() if key != "output"}
