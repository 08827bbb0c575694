"""A small trainer whose states are kept as test data, and what the next epochs come to after one is loaded.

All numbers are multiples of a power of two, and the loss is a mean of absolute differences. So float64 holds every sum
exactly, whatever the order of its terms, and the expected losses and weights are the same on every processor.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from torch.nn.functional import l1_loss
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

FOLDERS = ("ckpt", "safetensor", "stopped_by_sigterm", "killed_while_writing", "killed_after_commit")
"""Folders that ``StateManagerAddon`` wrote."""
CHECKPOINTS = {
    "end_of_epoch": {"save_on_train_epoch_end": True},
    "after_validation": {"save_on_train_epoch_end": False},
    "mid_epoch": {"every_n_train_steps": 6},
}
"""Files ``<name>.ckpt`` that Lightning's ``ModelCheckpoint`` wrote, and its arguments."""


class AbsoluteError(Trainer):
    """Draws from Python's and NumPy's generators in every step: a loss shows whether their states were restored."""

    def train_step(self, batch):
        x, y = batch
        predicted = self.model(x)
        drawn = random.randrange(8) + int(np.random.randint(8))
        return {"loss": l1_loss(predicted, y) + drawn, "preds": predicted, "target": y}

    def test_step(self, batch):
        x, y = batch
        predicted = self.model(x)
        return {"loss": l1_loss(predicted, y), "preds": predicted, "target": y}


class StatefulLoader:
    """Gives batches in a random order, and can go on in the middle of it."""

    def __init__(self, batches):
        self.batches, self.order, self.place = list(batches), [], 0

    def __iter__(self):
        if not self.order:
            self.order, self.place = torch.randperm(len(self.batches)).tolist(), 0
        while self.place < len(self.order):
            self.place += 1
            yield self.batches[self.order[self.place - 1]]
        self.order = []

    def __len__(self):
        return len(self.batches)

    def state_dict(self):
        return {"order": list(self.order), "place": self.place}

    def load_state_dict(self, state):
        self.order, self.place = list(state["order"]), state["place"]


class StepRecorder(Logger):
    """Remembers under which step numbers losses were logged."""

    def __init__(self):
        super().__init__()
        self.steps = {"loss": [], "test_loss": []}

    @property
    def name(self):
        return "steps"

    @property
    def version(self):
        return 0

    def log_metrics(self, metrics, step=None):
        for key, steps in self.steps.items():
            if key in metrics:
                steps.append(step)

    def log_hyperparams(self, *args, **kwargs):
        pass


class StartRecorder(Callback):
    """Remembers what a run starts from: most of it is replaced during the run."""

    def __init__(self, trainer):
        self.trainer, self.start, self.keys_of_weights = trainer, None, None

    def on_load_checkpoint(self, trainer, module, checkpoint):
        self.keys_of_weights = sorted(checkpoint["state_dict"])

    def on_train_start(self, *_):
        self.start = records(self.trainer)


def records(trainer):
    """Return weights, states and counts of a trainer, as JSON holds them."""
    buffer = trainer.weight_buffer
    best = [value.tolist() for weights in buffer["weight"][-1:] for value in weights.values()]
    optimizer = trainer.optimizer.state_dict()["state"]
    return {
        "losses": {mode: trainer.history.steps(mode) for mode in ("train", "test")},
        "epochs": [{key: value for key, value in record.items() if key != "seconds"} for record in trainer.history],
        "weights": [parameter.tolist() for parameter in trainer.model.parameters()],
        "momentum": [state["momentum_buffer"].tolist() for state in optimizer.values()],
        "rate": trainer.optimizer.param_groups[0]["lr"],
        "scheduler": [trainer.scheduler.last_epoch, trainer.scheduler.get_last_lr()],
        "best": {"loss": trainer.loss_buffer, "epoch": buffer["epoch"][-1:], "weights": best},
        "saved_loss": getattr(trainer, "saved_loss", None),
        "metrics": [{k: float(v) for k, v in part.items()} for part in (trainer.train_metrics, trainer.test_metrics)],
        "progress": [trainer.progress_checker.get_epoch(), trainer.progress_checker.get_step()],
    }


def build_trainer(name, folder, seed, base=AbsoluteError):
    """Return the trainer of a scenario; its files lie in ``folder``.

    Parameters
    ----------
    name : str
        One of `FOLDERS` or `CHECKPOINTS`.
    folder : path
        Where the data lie: ``folder/<name>`` is the ``save_path`` of a `StateManagerAddon`.
    seed : int
        Of all generators. A trainer that loads has another seed than the one that saved.
    base : type
        `AbsoluteError` or a subclass; with `StateManagerAddon`, if the scenario has a folder.
    """
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)
    model = torch.nn.Linear(4, 2, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 16).round() / 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1 / 8, momentum=0.5)
    callbacks = [
        EarlyStopping("val_loss", patience=3, min_delta=1000.0)
    ]  # no epoch is good enough: it stops the fourth
    if name in CHECKPOINTS:
        callbacks.append(ModelCheckpoint(folder, name, enable_version_counter=False, **CHECKPOINTS[name]))
        add_on = {}
    else:
        save_format = "safetensor" if name == "safetensor" else "ckpt"
        add_on = {"save_path": os.path.join(folder, name), "save_format": save_format}
    return base(
        model,
        "cpu",
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5),
        metrics={"error": torchmetrics.MeanAbsoluteError()},
        callbacks=callbacks,
        log_bar=False,
        **add_on,
    )


def build_loaders(name):
    """Return the training loader, with 4 batches of 4, and the validation loader, with 2 batches."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(-2, 3, (24, 4), generator=generator).double()
    y = (x @ torch.tensor([[2.0, -1.0], [0.0, 3.0], [-2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)) + 1.0
    train, valid = TensorDataset(x[:16], y[:16]), TensorDataset(x[16:], y[16:])
    if name in ("mid_epoch", "stopped_by_sigterm"):
        return StatefulLoader(DataLoader(train, 4)), DataLoader(valid, 4)
    order = torch.Generator().manual_seed(6) if name == "safetensor" else None  # a loader with a generator of its own
    return DataLoader(train, 4, shuffle=True, generator=order), DataLoader(valid, 4)


def continue_training(name, folder):
    """Load a state or checkpoint with the public interface, train two epochs more, and return what they came to.

    Parameters
    ----------
    name : str
        One of `FOLDERS` or `CHECKPOINTS`.
    folder : path
        Where the data lie; what is there is written to.

    Returns
    -------
    dict
        Numbers, text, and lists and dictionaries of these, as JSON holds them.
    """
    is_checkpoint = name in CHECKPOINTS
    base = AbsoluteError if is_checkpoint else AbsoluteError.add_on(StateManagerAddon)
    trainer = build_trainer(name, folder, seed=1, base=base)
    at_start, logged = StartRecorder(trainer), StepRecorder()
    trainer.callbacks.append(at_start)
    trainer.loggers.append(logged)
    loaders = build_loaders(name)
    if is_checkpoint:
        trainer.run(2, *loaders, ckpt_path=Path(folder, f"{name}.ckpt"))
    else:
        trainer.load_state()
        trainer.run(2, *loaders)
    stopping = next(callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping))
    return {
        "start": at_start.start,
        "keys of weights": at_start.keys_of_weights,
        "end": records(trainer),
        "lightning": [trainer.lightning_trainer.current_epoch, trainer.lightning_trainer.global_step],
        "logged": logged.steps,
        "early stopping": [stopping.wait_count, stopping.stopped_epoch, float(stopping.best_score)],
        "drawn": [random.random(), np.random.rand(), torch.rand(1).item()],
    }
