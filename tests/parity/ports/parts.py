"""Shared parts of the ports: the registrar, data, small networks, and loaders that 0.7.6 can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

PORTS: dict[str, Callable[[], Any]] = {}
CPU = torch.device("cpu")
UPSTREAM = not hasattr(Trainer, "lightning_module")


def port(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a port under its name: a function that builds a trainer, runs it and returns it.

    What a trainer learns outside of its model and optimizer is observed too, where the trainer has it as ``extra``.
    """
    assert function.__name__ not in PORTS, f"two ports are named {function.__name__}"
    PORTS[function.__name__] = function
    return function


def constant(optimizer: Any) -> lr_scheduler.LRScheduler:
    """Return the scheduler that people give because 0.7.6 needs one."""
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


class NoScheduler:
    """The scheduler that people give where the optimizer is none of torch's."""

    def step(self) -> None:
        pass


def points(n: int = 48, seed: int = 1, size: int = 10, classes: int = 2) -> TensorDataset:
    """Return ``n`` vectors with the class that their sum falls into."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, size, generator=generator)
    return TensorDataset(x, (x.sum(1).abs() * 7).long() % classes)


def images(n: int = 24, seed: int = 1, channels: int = 1, side: int = 8, classes: int = 3) -> TensorDataset:
    """Return ``n`` images of noise in [-1, 1], with a class each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, channels, side, side, generator=generator) * 2 - 1
    return TensorDataset(x, torch.randint(classes, (n,), generator=generator))


def tokens(n: int = 24, length: int = 7, vocabulary: int = 11, seed: int = 1) -> torch.Tensor:
    """Return ``n`` sequences of tokens that are none of 0, 1 and 2."""
    return torch.randint(3, vocabulary, (n, length), generator=torch.Generator().manual_seed(seed))


def loaders(batch_size: int = 8, **kwargs: Any) -> tuple[DataLoader, DataLoader]:
    """Return a shuffled loader of 48 points and an ordered one of 20."""
    return DataLoader(points(), batch_size, shuffle=True, **kwargs), DataLoader(points(20, 2), 2 * batch_size)


def mlp(inputs: int = 10, outputs: int = 2, hidden: int = 16) -> nn.Sequential:
    """Return a network of two linear layers."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Classifier(Trainer):
    """Trains a classifier by ``train_step`` alone."""

    def train_step(self, batch):
        output = self.model(batch[0])
        return {"loss": F.cross_entropy(output, batch[1]), "acc": (output.argmax(1) == batch[1]).float().mean()}

    test_step = train_step


class Batchwise(Classifier):
    """Takes the batch over, and leaves it to ``super()``."""

    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Own(Classifier):
    """Does the whole of a training batch by itself."""

    def run_batch(self, batch, **kwargs):
        if self.mode == "test":
            return super().run_batch(batch, **kwargs)
        self.model.train()
        self.optimizer.zero_grad()
        step_dict = self.train_step(self._to_device(*batch))
        step_dict["loss"].backward()
        self.optimizer.step()
        self.logging(step_dict)
        self.progress_checker.update_step()


def train(cls: type, optimizer: Any, model: nn.Module, scheduler: Any = None, epochs: int = 3, **kwargs: Any) -> Any:
    """Train a network on points, and return the trainer."""
    trainer = cls(model, CPU, "train", optimizer, scheduler or constant(optimizer), log_bar=False, **kwargs)
    trainer.run(epochs, *loaders())
    return trainer


def dropout_net() -> nn.Sequential:
    """Return a network that draws random numbers, so that any draw out of order is seen."""
    return nn.Sequential(nn.Linear(10, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 2))


def train_on(*given: Any, cls: type = Classifier, epochs: int = 3) -> Any:
    """Train a network with dropout on a loader, and maybe validate on another, and return the trainer."""
    model = dropout_net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = cls(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(epochs, *given)
    return trainer


def without_length(cls: type) -> type:
    """Let 0.7.6 read a loader or dataset without a length, which it asks for to draw its bar and to count the data.

    Counts and bars apart, any number that it answers gives the same run; so it is given one there, and only there.
    """
    cls.has_no_length = True  # type: ignore[attr-defined]
    if UPSTREAM:
        cls.__len__ = lambda self: 8  # type: ignore[attr-defined]
    return cls
