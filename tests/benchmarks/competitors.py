"""The same training, written for each peer, with the loss and the accuracy of every step kept.

Every function trains one epoch and returns the seconds from the beginning of its first step to that of its last.
Start-up and the end of the epoch are outside, so what is left is the cost of a step.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .problems import Clock, Problem, loss_and_accuracy

Peer = Callable[[Problem, int], float]


def raw_loop(problem: Problem, steps: int) -> float:
    model, optimizer, loader = problem.parts(steps)
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


def _lightning_module(problem: Problem, model: nn.Module, optimizer: Any, clock: Clock, log: bool) -> Any:
    import lightning.pytorch as L

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

    return Module()


SILENT = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def _lightning(problem: Problem, steps: int, log: bool) -> float:
    import lightning.pytorch as L

    model, optimizer, loader = problem.parts(steps)
    clock = Clock()
    L.Trainer(**SILENT).fit(_lightning_module(problem, model, optimizer, clock, log), loader)
    return clock.seconds


def lightning_without_logging(problem: Problem, steps: int) -> float:
    return _lightning(problem, steps, log=False)


def lightning_with_log_dict(problem: Problem, steps: int) -> float:
    return _lightning(problem, steps, log=True)


def accelerate(problem: Problem, steps: int) -> float:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer, loader = accelerator.prepare(*problem.parts(steps))
    clock, log = Clock(), {"loss": [], "acc": []}
    for batch in loader:
        clock.tick()
        model.train()
        optimizer.zero_grad()
        loss, accuracy = loss_and_accuracy(model, batch)
        accelerator.backward(loss)
        optimizer.step()
        log["loss"].append(loss.detach())
        log["acc"].append(accuracy.detach())
    accelerator.free_memory()
    return clock.seconds


def skorch(problem: Problem, steps: int) -> float:
    from skorch import NeuralNet
    from skorch.callbacks import Callback

    clock = Clock()

    class Accuracy(Callback):
        def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
            clock.tick()

        def on_batch_end(self, net: Any, batch: Any, training: bool, y_pred: torch.Tensor, **kwargs: Any) -> None:
            net.history.record_batch("acc", (y_pred.argmax(1) == batch[1]).float().mean())

    torch.manual_seed(0)
    net = NeuralNet(
        problem.model(),
        nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=1,
        batch_size=problem.batch_size,
        train_split=None,
        verbose=0,
        callbacks=[Accuracy()],
    )
    net.fit(*problem.data(steps))
    return clock.seconds


def ignite(problem: Problem, steps: int) -> float:
    from ignite.engine import Engine, Events

    model, optimizer, loader = problem.parts(steps)
    clock, log = Clock(), {"loss": [], "acc": []}

    def step(engine: Engine, batch: Any) -> dict[str, torch.Tensor]:
        clock.tick()
        model.train()
        optimizer.zero_grad()
        loss, accuracy = loss_and_accuracy(model, batch)
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "acc": accuracy.detach()}

    engine = Engine(step)

    @engine.on(Events.ITERATION_COMPLETED)
    def keep(engine: Engine) -> None:
        for key, value in engine.state.output.items():
            log[key].append(value)

    engine.run(loader, max_epochs=1)
    return clock.seconds


def _zae_engine(
    problem: Problem, steps: int, *add_ons: Any, bar: bool = False, own: bool = False, read: bool = False, **kwargs: Any
) -> Any:
    """Train with whichever ``zae_engine`` this process imports: upstream's or ours."""
    from zae_engine.trainer import Trainer

    model, optimizer, loader = problem.parts(steps)
    clock = Clock()

    class Plain(Trainer):
        def train_step(self, batch: Any) -> dict[str, torch.Tensor]:
            clock.tick()
            loss, accuracy = loss_and_accuracy(self.model, batch)
            return {"loss": loss, "acc": accuracy}

        def test_step(self, batch: Any) -> dict[str, torch.Tensor]:
            return self.train_step(batch)

    class Own(Plain):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            super().run_batch(batch, **kwargs)

    is_upstream = not hasattr(Trainer, "plot")  # it cannot do without a scheduler
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0) if is_upstream else None
    cls: Any = Own if own else Plain
    cls = cls.add_on(*add_ons) if add_ons else cls
    trainer = cls(model, torch.device("cpu"), "train", optimizer, scheduler, log_bar=bar, **kwargs)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer.run(1, loader)
    assert trainer.progress_checker.get_step() == steps + 2  # it counts from 1
    if read:
        assert len(trainer.log_train["loss"]) == len(trainer.log_train["acc"]) == steps + 1
    return clock.seconds


def ours(problem: Problem, steps: int) -> float:
    return _zae_engine(problem, steps)


def ours_and_read(problem: Problem, steps: int) -> float:
    return _zae_engine(problem, steps, read=True)


def ours_with_bar(problem: Problem, steps: int) -> float:
    return _zae_engine(problem, steps, bar=True)


def ours_with_own_run_batch(problem: Problem, steps: int) -> float:
    return _zae_engine(problem, steps, own=True)


def ours_with_csv_logger(problem: Problem, steps: int) -> float:
    from lightning.pytorch.loggers import CSVLogger

    with tempfile.TemporaryDirectory() as folder:
        return _zae_engine(problem, steps, loggers=CSVLogger(folder, flush_logs_every_n_steps=1000))


def ours_with_state_manager(problem: Problem, steps: int) -> float:
    from zae_engine.trainer.addons import StateManagerAddon

    with tempfile.TemporaryDirectory() as folder:
        return _zae_engine(problem, steps, StateManagerAddon, save_path=folder)


def lightning_with_csv_logger(problem: Problem, steps: int) -> float:
    import lightning.pytorch as L
    from lightning.pytorch.loggers import CSVLogger

    model, optimizer, loader = problem.parts(steps)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        logger = CSVLogger(folder, flush_logs_every_n_steps=1000)
        trainer = L.Trainer(**{**SILENT, "logger": logger, "log_every_n_steps": 1})
        trainer.fit(_lightning_module(problem, model, optimizer, clock, log=True), loader)
    return clock.seconds


def upstream(problem: Problem, steps: int) -> float:
    return _zae_engine(problem, steps, bar=True)  # without its bar it prints a line a batch


PEERS: dict[str, Peer] = {
    "raw torch loop": raw_loop,
    "LightningModule, no logging": lightning_without_logging,
    "LightningModule, log_dict": lightning_with_log_dict,
    "LightningModule, log_dict, CSVLogger every step": lightning_with_csv_logger,
    "zae-engine 0.7.6": upstream,
    "Hugging Face Accelerate": accelerate,
    "skorch": skorch,
    "pytorch-ignite": ignite,
    "this package": ours,
    "this package, with bar": ours_with_bar,
    "this package, own run_batch": ours_with_own_run_batch,
    "this package, CSVLogger every step": ours_with_csv_logger,
    "this package, StateManagerAddon": ours_with_state_manager,
}
RAW, PLAIN, LOGGING = "raw torch loop", "LightningModule, no logging", "LightningModule, log_dict"
UPSTREAM, OURS = "zae-engine 0.7.6", "this package"
