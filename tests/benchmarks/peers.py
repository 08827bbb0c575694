"""The same tiny training, written for each peer: a linear model, batches of 8, loss and accuracy kept every step.

Every function trains one epoch and returns the seconds from the first step to the last. Start-up and the end of the
epoch are outside, so what is left is the cost of a step.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCH = 8


class Clock:
    """Remembers when the first and the latest step began."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def tick(self) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last

    @property
    def seconds(self) -> float:
        return self.last - self.first


def parts(steps: int) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH * (steps + 1), 10, generator=generator)
    model = nn.Linear(10, 2)
    return (
        model,
        torch.optim.Adam(model.parameters(), lr=1e-3),
        DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), BATCH),
    )


def loss_and_accuracy(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = batch
    output = model(x)
    return F.cross_entropy(output, y), (output.argmax(1) == y).float().mean()


def raw_loop(steps: int) -> float:
    model, optimizer, loader = parts(steps)
    clock, log = Clock(), {"loss": [], "acc": []}
    for batch in loader:
        clock.tick()
        model.train()
        optimizer.zero_grad()
        loss, accuracy = loss_and_accuracy(model, batch)
        loss.backward()
        optimizer.step()
        log["loss"].append(loss.detach())
        log["acc"].append(accuracy.detach())
    return clock.seconds


def _lightning(steps: int, log: bool) -> float:
    import lightning.pytorch as L

    model, optimizer, loader = parts(steps)
    clock = Clock()

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            clock.tick()
            loss, accuracy = loss_and_accuracy(self.model, batch)
            if log:
                self.log_dict({"loss": loss, "acc": accuracy})
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader)
    return clock.seconds


def lightning_without_logging(steps: int) -> float:
    return _lightning(steps, log=False)


def lightning_with_log_dict(steps: int) -> float:
    return _lightning(steps, log=True)


def zae_engine(steps: int, bar: bool = False, own_batch: bool = False) -> float:
    """Train with whichever ``zae_engine`` this process imports: upstream's or ours."""
    from zae_engine.trainer import Trainer

    model, optimizer, loader = parts(steps)
    clock = Clock()

    class Tiny(Trainer):
        def train_step(self, batch: Any) -> dict[str, torch.Tensor]:
            clock.tick()
            loss, accuracy = loss_and_accuracy(self.model, batch)
            return {"loss": loss, "acc": accuracy}

        def test_step(self, batch: Any) -> dict[str, torch.Tensor]:
            return self.train_step(batch)

    class TinyBatch(Tiny):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            super().run_batch(batch, **kwargs)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    trainer = (TinyBatch if own_batch else Tiny)(model, torch.device("cpu"), "train", optimizer, scheduler, log_bar=bar)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer.run(1, loader)
    assert len(trainer.log_train["loss"]) == steps + 1
    return clock.seconds


def ours(steps: int) -> float:
    return zae_engine(steps)


def ours_with_bar(steps: int) -> float:
    return zae_engine(steps, bar=True)


def ours_with_own_run_batch(steps: int) -> float:
    return zae_engine(steps, own_batch=True)


def upstream(steps: int) -> float:
    return zae_engine(steps, bar=True)  # without its bar it prints a line a batch


PEERS: dict[str, Callable[[int], float]] = {
    "raw torch loop": raw_loop,
    "LightningModule, no logging": lightning_without_logging,
    "LightningModule, log_dict": lightning_with_log_dict,
    "zae-engine 0.7.6": upstream,
    "this package": ours,
    "this package, with bar": ours_with_bar,
    "this package, own run_batch": ours_with_own_run_batch,
}
UPSTREAM = "zae-engine 0.7.6"
