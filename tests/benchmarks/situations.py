"""What a trainer costs beside the raw loop in situations that notebooks are full of: each with its aim.

Both sides keep the loss and the accuracy of every batch. They are measured in turn in one process, in an order that
alternates; the table gives medians over the rounds, and the median of the ratios within each round.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from zae_engine.trainer import Trainer

from .competitors import SILENT, _lightning_module
from .problems import TINY, Clock, linear, loss_and_accuracy

WARM_UP = 20
_COUNTS = {"batches", "epochs"}


class Generic(Dataset):
    """A data set that has nothing but its length and its samples, as people write them."""

    def __init__(self, *data: torch.Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data[0])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return tuple(values[index] for values in self.data)


class Timed(Trainer):
    """A trainer that ticks at every training step."""

    clock = Clock()

    def train_step(self, batch: Any) -> dict[str, Any]:
        self.clock.tick()
        return self.test_step(batch)

    def test_step(self, batch: Any) -> dict[str, Any]:
        loss, accuracy = loss_and_accuracy(self.model, batch)
        return {"loss": loss, "acc": accuracy}


class OwnBatch(Timed):
    def run_batch(self, batch: Any, **kwargs: Any) -> None:
        super().run_batch(batch, **kwargs)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


@dataclass(frozen=True)
class Setting:
    """What is trained: a model, the shape of its data, the size of the batches, and on which device."""

    model: Callable[[], nn.Module] = linear
    features: int = 10
    classes: int = 2
    batch_size: int = 8
    dataset: Callable[..., Any] = TensorDataset
    device: str = "cpu"

    def parts(self, batches: int) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
        """Return a model, an optimizer and a loader of so many batches."""
        torch.manual_seed(0)
        model = self.model().to(self.device)
        x = torch.randn(batches * self.batch_size, self.features)
        data = self.dataset(x, torch.randint(self.classes, (len(x),)))
        return model, torch.optim.Adam(model.parameters(), lr=1e-3), DataLoader(data, self.batch_size, shuffle=True)


def raw(setting: Setting, batches: int, epochs: int = 1, valid: int = 0) -> tuple[float, float]:
    """Train a raw loop; return the seconds from its first step to its last, and those of all of it."""
    model, optimizer, loader = setting.parts(batches)
    valid_loader = setting.parts(valid)[2] if valid else ()
    clock, start = Clock(), time.perf_counter()
    log: dict[str, list[Any]] = {"loss": [], "acc": [], "test_loss": [], "test_acc": [], "means": []}
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            clock.tick()
            optimizer.zero_grad()
            loss, accuracy = loss_and_accuracy(model, (x.to(setting.device), y.to(setting.device)))
            loss.backward()
            optimizer.step()
            log["loss"].append(loss.detach())
            log["acc"].append(accuracy.detach())
        model.eval()
        with torch.no_grad():
            for x, y in valid_loader:
                loss, accuracy = loss_and_accuracy(model, (x.to(setting.device), y.to(setting.device)))
                log["test_loss"].append(loss)
                log["test_acc"].append(accuracy)
        log["means"].append([torch.stack(values[-batches:]).mean().item() for values in (log["loss"], log["acc"])])
        if valid:
            log["means"].append([torch.stack(log[key][-valid:]).mean().item() for key in ("test_loss", "test_acc")])
    return clock.seconds, time.perf_counter() - start


def ours(
    setting: Setting, batches: int, epochs: int = 1, valid: int = 0, cls: type = Timed, **arguments: Any
) -> tuple[float, float]:
    """Train with this package; return the seconds as `raw` does."""
    model, optimizer, loader = setting.parts(batches)
    valid_loader = setting.parts(valid)[2] if valid else None
    trainer = cls(model, setting.device, optimizer=optimizer, log_bar=False, **arguments)
    trainer.clock, start = Clock(), time.perf_counter()
    trainer.run(epochs, loader, valid_loader)
    return trainer.clock.seconds, time.perf_counter() - start


def with_callbacks(setting: Setting, batches: int) -> tuple[float, float]:
    """Train with Lightning's usual callbacks, and a logger that writes every step."""
    from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            EarlyStopping("train_loss", check_on_train_epoch_end=True),
            ModelCheckpoint(folder),
            LearningRateMonitor("step"),
        ]
        lightning = {"log_every_n_steps": 1}
        return ours(setting, batches, callbacks=callbacks, loggers=[CSVLogger(folder)], lightning=lightning)


def one_run(setting: Setting, batches: int) -> tuple[float, float]:
    """Call ``run(1)`` again on a trainer that has run."""
    model, optimizer, loader = setting.parts(1)
    trainer = Timed(model, setting.device, optimizer=optimizer, log_bar=False)
    trainer.run(1, loader)
    start = time.perf_counter()
    for _ in range(batches):
        trainer.run(1, loader)
    return 0.0, time.perf_counter() - start


def one_fit(setting: Setting, batches: int) -> tuple[float, float]:
    """Call ``fit`` of a new ``L.Trainer``, as one who trains an epoch at a time has to."""
    import lightning.pytorch as L

    model, optimizer, loader = setting.parts(1)
    module = _lightning_module(TINY, model, optimizer, Clock(), log=False)
    start = time.perf_counter()
    for _ in range(batches):
        L.Trainer(**{**SILENT, "accelerator": "cpu" if setting.device == "cpu" else "gpu"}).fit(module, loader)
    return 0.0, time.perf_counter() - start


Side = Callable[..., tuple[float, float]]
MLP = Setting(mlp, 64, 10, 256)
GENERIC = Setting(dataset=Generic)


@dataclass(frozen=True)
class Situation:
    """What is measured: this package beside a base, with common arguments and those of this package alone."""

    setting: Setting
    arguments: dict[str, int]
    aim: float
    own: Side = ours
    more: dict[str, Any] = field(default_factory=dict)
    base: Side = raw
    whole: bool = False  # the time of all of it, not that between the first and the last step


SITUATIONS = {
    "tiny model, batches of 8 in memory": Situation(Setting(), {"batches": 1000}, 1.0),
    "MLP 64-128-10, batches of 256 in memory": Situation(MLP, {"batches": 300}, 0.7),
    "tiny model, a Dataset of samples": Situation(GENERIC, {"batches": 1000}, 1.25),
    "300 epochs of 4 + 2 batches": Situation(Setting(), {"batches": 4, "epochs": 300, "valid": 2}, 1.6, whole=True),
    "three callbacks and a CSVLogger": Situation(Setting(), {"batches": 1000}, 1.5, with_callbacks),
    "an own run_batch": Situation(Setting(), {"batches": 1000}, 1.2, more={"cls": OwnBatch}),
    "run(1) of a batch, beside fit": Situation(Setting(), {"batches": 30}, 0.4, one_run, base=one_fit, whole=True),
}


def table(rounds: int, device: str = "cpu") -> list[str]:
    """Measure, and return the lines of a Markdown table.

    Parameters
    ----------
    rounds : int
        How often each side is measured.
    device : str, optional
        The device to train on.
    """
    import lightning.pytorch  # noqa: F401  # sets the level of its logger

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("zae_engine").setLevel(logging.ERROR)
    lines = ["| | base, ms | this package, ms | x base | aim |", "|---|---|---|---|---|"]
    for name, situation in SITUATIONS.items():
        setting = replace(situation.setting, device=device)
        sides = {situation.base: situation.arguments, situation.own: {**situation.arguments, **situation.more}}
        times: dict[Side, list[float]] = {side: [] for side in sides}
        with contextlib.redirect_stderr(io.StringIO()):  # the lines of the epochs
            for side, given in sides.items():  # what is done once
                side(setting, **{**given, **{key: min(given[key], WARM_UP) for key in _COUNTS & set(given)}})
            for i in range(rounds):
                for side in sides if i % 2 == 0 else reversed(sides):
                    times[side].append(side(setting, **sides[side])[situation.whole] * 1e3)
        bases, owns = times.values()
        ratio = statistics.median(own / base for base, own in zip(bases, owns, strict=True))
        shown = f"{statistics.median(bases):.0f} | {statistics.median(owns):.0f} | {ratio:.2f} | {situation.aim}"
        lines.append(f"| {name} | {shown} |")
    return lines
