"""Axes: the step axes of loggers agree, with accumulation and over runs."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from ..observing import Keeps, rows
from ..players import Player
from ..problem import train_loader, valid_loader
from . import situation


def steps_of(player: Player, **arguments: Any) -> dict[str, Any]:
    """Return the steps at which values are logged, by name."""
    logger = Keeps()
    subject = player.make(loggers=[logger], callbacks=[C.Callback()], arguments=arguments)
    subject.fit(2, train_loader(batch_size=4), valid_loader())
    return {name: [step for step, _ in logger.of(name)] for name in ("loss", "lr", "test_loss")}


@situation
def every_step(player: Player) -> dict[str, Any]:
    """Values of steps and validations are logged at Lightning's steps."""
    return steps_of(player)


@situation
def with_accumulation(player: Player) -> dict[str, Any]:
    """With accumulation, values are logged at Lightning's steps."""
    return steps_of(player, accumulate_grad_batches=2)


@situation
def with_validation_within_the_epoch(player: Player) -> dict[str, Any]:
    """With `val_check_interval`, validations are logged at the step of their moment."""
    return steps_of(player, val_check_interval=2)


@situation(ways=("own_trainer",))
def every_other_step(player: Player) -> dict[str, Any]:
    """`log_every_n_steps` of an own `L.Trainer` says how often steps are logged."""
    return {"loss": steps_of(player, log_every_n_steps=2)["loss"]}


@situation
def monitor_of_rates_with_accumulation(player: Player) -> dict[str, Any]:
    """A learning rate monitor and the values of steps have one axis with accumulation."""
    logger = CSVLogger(player.folder, "logs")
    subject = player.make(
        loggers=[logger],
        callbacks=[C.LearningRateMonitor("step")],
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
        per_batch=True,
        arguments={"accumulate_grad_batches": 2},
    )
    subject.fit(1, train_loader(batch_size=4))
    found = rows(logger)
    return {"rates": found.get("lr-SGD"), "loss": [step for step, _ in found.get("loss", [])]}


@situation
def all_loggers_agree(player: Player) -> dict[str, Any]:
    """TensorBoard and a CSV file have the same steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loggers = [CSVLogger(player.folder, "csv"), TensorBoardLogger(player.folder, "tensorboard")]
    subject = player.make(loggers=loggers, callbacks=[C.Callback()], arguments={"accumulate_grad_batches": 2})
    subject.fit(2, train_loader(batch_size=4), valid_loader())
    events = EventAccumulator(loggers[1].log_dir)
    events.Reload()
    found = rows(loggers[0])
    names = ("loss", "test_loss")
    return {
        "csv": {name: [step for step, _ in found.get(name, [])] for name in names},
        "tensorboard": {name: [event.step for event in events.Scalars(name)] for name in names},
    }


@situation
def two_runs(player: Player) -> dict[str, Any]:
    """Steps go on in a second run."""
    logger = Keeps()
    subject = player.make(loggers=[logger], callbacks=[C.Callback()])
    subject.fit(1, train_loader(), valid_loader()).fit(1, train_loader(), valid_loader())
    return {name: [step for step, _ in logger.of(name)] for name in ("loss", "test_loss")}


class Logs(C.Callback):
    """A callback that logs by the module and by the logger."""

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        module.log("index", float(index), on_step=True, on_epoch=False, batch_size=1)
        trainer.logger.log_metrics({"mine": 1.0}, step=trainer.global_step)


@situation
def logged_by_callbacks(player: Player) -> dict[str, Any]:
    """What a callback logs by the module and by the logger is at Lightning's steps."""
    logger = Keeps()
    subject = player.make(loggers=[logger], callbacks=[Logs()], arguments={"accumulate_grad_batches": 2})
    subject.fit(1, train_loader(batch_size=4))
    return {name: logger.of(name) for name in ("index", "mine")}
