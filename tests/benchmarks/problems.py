"""What the benchmarks train: a model so small that only overhead is seen, and a small ResNet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Clock:
    """Remembers when the first and the latest step began: what lies before and after them is not measured."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def tick(self) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last

    @property
    def seconds(self) -> float:
        return self.last - self.first


@dataclass(frozen=True)
class Problem:
    """A model, and data of a shape for it."""

    name: str
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    batch_size: int

    def data(self, steps: int, processes: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples for so many steps, and one more, in which the last step ends."""
        generator = torch.Generator().manual_seed(0)
        n = self.batch_size * (steps + 1) * processes
        return (
            torch.randn(n, *self.shape, generator=generator),
            torch.randint(self.classes, (n,), generator=generator),
        )

    def parts(self, steps: int, processes: int = 1) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
        """Return a model, an optimizer and a loader."""
        torch.manual_seed(0)
        model = self.model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return model, optimizer, DataLoader(TensorDataset(*self.data(steps, processes)), self.batch_size)


def loss_and_accuracy(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = batch
    output = model(x)
    return F.cross_entropy(output, y), (output.argmax(1) == y).float().mean()


class Residual(nn.Module):
    """Two convolutions with batch norm, and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.layers(x))


def linear() -> nn.Module:
    return nn.Linear(10, 2)


def resnet() -> nn.Module:
    """A ResNet-8 for images of 8 by 8 pixels, the size of scikit-learn's digits: 225,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *(Residual(64) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


TINY = Problem("tiny: linear(10, 2), batches of 8", linear, (10,), 2, 8)
REAL = Problem("real: ResNet-8, 8x8 images, batches of 64", resnet, (1, 8, 8), 10, 64)
PROBLEMS = {"tiny": TINY, "real": REAL}
