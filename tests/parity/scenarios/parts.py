"""The parts that scenarios are made of: a traced trainer, data, a network, and a way to put them together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

SAVING = os.environ.get("ZAE_PARITY_SAVING", "")  # a format: every trainer has StateManagerAddon
PARTS = bool(os.environ.get("ZAE_PARITY_PARTS"))  # every trainer has a callback and a logger that do nothing
SCENARIOS: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a scenario under its name."""
    SCENARIOS[function.__name__] = function
    return function


def lightning_parts() -> tuple[Any, Any]:
    """Return a callback and a logger that do nothing."""
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers.logger import DummyLogger

    return Callback(), DummyLogger()


class Traced(Trainer):
    """A classifier whose hooks leave a trace."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.trace: list[Any] = []
        super().__init__(*args, **kwargs)
        if PARTS and isinstance(self.callbacks, list) and isinstance(self.loggers, list):
            callback, logger = lightning_parts()
            self.callbacks.append(callback)
            self.loggers.append(logger)

    def note(self, name: str, *values: Any) -> None:
        lr = self.optimizer.param_groups[0]["lr"] if self.optimizer else None
        self.trace.append((name, self.mode, lr, *values))

    def train_step(self, batch):
        x, y = batch
        output = self.model(x)
        loss = F.cross_entropy(output, y)
        self.note("train_step", loss.item(), self.model.training, torch.is_grad_enabled())
        return {"loss": loss, "acc": (output.argmax(1) == y).float().mean(), "output": output.argmax(1)}

    def test_step(self, batch):
        x, y = batch
        output = self.model(x)
        loss = F.cross_entropy(output, y)
        self.note("test_step", loss.item(), self.model.training, torch.is_grad_enabled())
        return {"loss": loss, "output": output.argmax(1)}

    def metric_on_epoch_end(self):
        log = self.log_train if self.mode == "train" else self.log_test
        self.note("metric_on_epoch_end", len(log["loss"]), self.model.training)
        return {"n": float(len(log["loss"])), "last": float(log["loss"][-1])}

    def logging(self, step_dict):
        self.note("logging", float(step_dict["loss"]), self.progress_checker.get_step())
        super().logging(step_dict)

    def log_reset(self, *args, **kwargs):
        self.note("log_reset", len(self.log_train), len(self.log_test))
        super().log_reset(*args, **kwargs)

    def toggle(self, mode=None):
        self.note("toggle", mode)
        super().toggle(mode)

    def check_better(self, cur_epoch, cur_loss):
        better = super().check_better(cur_epoch, cur_loss)
        self.note("check_better", cur_epoch, cur_loss, better, len(self.log_test))
        return better


def data(n: int = 50, seed: int = 1) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


def loaders(batch_size: int = 8, **kwargs: Any) -> tuple[DataLoader, DataLoader]:
    return DataLoader(data(), batch_size, shuffle=True, **kwargs), DataLoader(data(20, 2), 2 * batch_size)


def net(*, norm: bool = False) -> nn.Module:
    middle = nn.BatchNorm1d(16) if norm else nn.Dropout(0.3)
    return nn.Sequential(nn.Linear(10, 16), middle, nn.ReLU(), nn.Linear(16, 2))


def constant(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def build(cls: type = Traced, model: nn.Module | None = None, optimizer: Any = None, scheduler: Any = None, **kwargs):
    model = model or net()
    optimizer = optimizer(model) if optimizer else torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = scheduler(optimizer) if scheduler else constant(optimizer)
    kwargs.setdefault("log_bar", False)
    if SAVING:
        from zae_engine.trainer.addons import StateManagerAddon

        cls = cls.add_on(StateManagerAddon)
        kwargs |= {"save_path": tempfile.mkdtemp(), "save_format": SAVING}
    return cls(model, torch.device("cpu"), kwargs.pop("mode", "train"), optimizer, scheduler, **kwargs)


def odd_batches_only() -> Callable[[list[Any]], Any]:
    seen = [0]

    def collate(samples):
        seen[0] += 1
        return torch.utils.data.default_collate(samples) if seen[0] % 2 else None

    return collate
