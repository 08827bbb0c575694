"""Processes: own strategies that start them bring weights and records home.

Lightning shuffles what it distributes, so an epoch is one step here, of all samples.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from torch import nn

from zae_engine.trainer.addons import MultiGPUAddon

from ..observing import files
from ..players import Player
from ..problem import Classifier, train_loader, valid_loader
from . import situation

OnTwo = Classifier.add_on(MultiGPUAddon)


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 2))


def on_two(player: Player, strategy: str = "ddp_fork", **options: Any) -> Any:
    """Return a subject that trains in two processes: by `MultiGPUAddon` in `run`, by a strategy otherwise."""
    if player.way == "run":
        return player.make(trainer_class=OnTwo, given={"device": ["cpu", "cpu"]}, **options)
    return player.make(arguments={"strategy": strategy, "devices": 2}, **options)


def rounded(weights: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    """Return weights as rounded floats: sums over ranks are in no fixed order."""
    return {name: [round(float(value), 5) for value in tensor.flatten()] for name, tensor in weights.items()}


@situation
def forked(player: Player) -> dict[str, Any]:
    """Two forked processes bring weights and results of validation home."""
    subject = on_two(player).fit(2, train_loader(batch_size=12), valid_loader())
    loss = round(subject.results()["val_loss"], 5)
    return {"weights": rounded(subject.weights()), "val_loss": loss}


@situation(ways=("own_trainer",))
def spawned(player: Player) -> dict[str, Any]:
    """Two spawned processes bring weights and results of validation home."""
    subject = on_two(player, "ddp_spawn").fit(1, train_loader(batch_size=12), valid_loader())
    loss = round(subject.results()["val_loss"], 5)
    return {"weights": rounded(subject.weights()), "val_loss": loss}


@situation(ways=("own_trainer",), expected={"steps": 1, "epochs": 1, "moments": True, "best": True})
def records_come_home(player: Player) -> dict[str, Any]:
    """An own `ddp_fork` brings history, counts, optimizer state and best loss home, as `MultiGPUAddon` does."""
    subject = on_two(player, optimizer=torch.optim.Adam).fit(1, train_loader(batch_size=12), valid_loader())
    facade = subject.facade
    return {
        "steps": len(facade.get_loss_history("train")),
        "epochs": facade.progress_checker.get_epoch() - 1,
        "moments": bool(facade.optimizer.state),
        "best": facade.loss_buffer < float("inf"),
    }


@situation
def checkpoints_of_two(player: Player) -> dict[str, Any]:
    """A checkpoint callback writes once for two processes."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_loss")
    on_two(player, callbacks=[save]).fit(2, train_loader(batch_size=12), valid_loader())
    return {"files": files("saved")}


@situation
def averages_of_two(player: Player) -> dict[str, Any]:
    """Averaged weights work in two processes."""
    subject = on_two(player, model=deep, callbacks=[C.EMAWeightAveraging(decay=0.5)])
    subject.fit(2, train_loader(batch_size=12), valid_loader())
    return {"weights": rounded(subject.weights()), "val_loss": round(subject.results()["val_loss"], 4)}


@situation
def stopping_of_two(player: Player) -> dict[str, Any]:
    """Early stopping stops both processes."""
    stopping = C.EarlyStopping("val_loss", patience=1, min_delta=10.0)
    subject = on_two(player, callbacks=[stopping]).fit(6, train_loader(batch_size=12), valid_loader())
    return {"weights": rounded(subject.weights())}
