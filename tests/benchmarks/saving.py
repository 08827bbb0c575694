"""What a save of a 100 MB model with Adam costs training: ``python -m tests.benchmarks.saving [ROUNDS]``."""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tests.benchmarks.competitors import SILENT
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

EPOCHS, STEPS = 3, 12
NAMES = ("LightningModule, ModelCheckpoint", "this package, StateManagerAddon", "this package, own save_model")


class Marks:
    """The batches of an epoch, which note when they are asked for: how long training waits between two epochs."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        times: list[float] = []
        self.epochs.append(times)
        for _ in range(STEPS):
            times.append(time.perf_counter())
            yield torch.zeros(64, 1024), torch.zeros(64, 1024)

    def seconds(self) -> tuple[float, float]:
        """Return the wait between two epochs, and the time from one epoch's start to the next one's."""
        pairs = list(itertools.pairwise(self.epochs))
        step = statistics.median(b - a for times in self.epochs for a, b in itertools.pairwise(times))
        waits = [after[0] - before[-1] - step for before, after in pairs]
        return statistics.median(waits), statistics.median(after[0] - before[0] for before, after in pairs)


def parts() -> tuple[nn.Module, torch.optim.Optimizer, Marks]:
    model = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(25)])
    return model, torch.optim.Adam(model.parameters(), lr=1e-6), Marks()


def falling(model: nn.Module, batch: Any, loss_of: list[float]) -> torch.Tensor:
    """Return a loss that falls with every step, so that every epoch is the best."""
    loss = (model(batch[0]) - batch[1]).pow(2).mean()
    loss_of[0] -= 1.0
    return loss - loss.detach() + loss_of[0]


class Saving(Trainer.add_on(StateManagerAddon)):
    def train_step(self, batch: Any) -> dict[str, Any]:
        return {"loss": falling(self.model, batch, self.value)}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


class AtOnce(Saving):
    def save_model(self, filename: Any) -> None:
        super().save_model(filename)


def ours(cls: type[Saving], folder: str) -> Marks:
    model, optimizer, marks = parts()
    trainer = cls(model, "cpu", optimizer=optimizer, log_bar=False, save_path=folder)
    trainer.value = [0.0]
    trainer.run(EPOCHS, marks)
    return marks


def theirs(folder: str) -> Marks:
    import lightning.pytorch as L
    from lightning.pytorch.callbacks import ModelCheckpoint

    model, optimizer, marks = parts()

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.value = model, [0.0]

        def training_step(self, batch: Any) -> torch.Tensor:
            loss = falling(self.model, batch, self.value)
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    checkpoint = ModelCheckpoint(folder, monitor="loss", save_on_train_epoch_end=True)
    arguments = {**SILENT, "max_epochs": EPOCHS, "callbacks": [checkpoint], "enable_checkpointing": True}
    L.Trainer(**arguments).fit(Module(), marks)
    return marks


PEERS: dict[str, Callable[[str], Marks]] = {
    NAMES[0]: theirs,
    NAMES[1]: lambda folder: ours(Saving, folder),
    NAMES[2]: lambda folder: ours(AtOnce, folder),
}


def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return, for every round, the seconds between two epochs, and those from one epoch's start to the next one's."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for name in NAMES:
            with tempfile.TemporaryDirectory(dir=".") as folder:
                marks = PEERS[name](folder)
            taken[name].append(marks.seconds())
    return taken


def table(rounds: int) -> list[str]:
    """Return the lines of a Markdown table."""
    taken = measure(rounds)
    lines = ["| save of 100 MB and Adam | s that training waits | s an epoch with a save | x ModelCheckpoint |"]
    lines.append("|---|---|---|---|")
    for name, values in taken.items():
        ratio = statistics.median(a[0] / b[0] for a, b in zip(values, taken[NAMES[0]], strict=True))
        wait, epoch = (statistics.median(column) for column in zip(*values, strict=True))
        lines.append(f"| {name} | {wait:.2f} | {epoch:.2f} | {ratio:.2f} |")
    return lines


if __name__ == "__main__":
    print(*table(int(sys.argv[1]) if len(sys.argv) > 1 else 3), sep="\n")
