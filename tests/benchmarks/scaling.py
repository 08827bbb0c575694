"""What a second process gives and costs: ``python -m tests.benchmarks.scaling``.

One process with batches of 2 b beside two with batches of b each, one thread each, on a small and a larger network; and
the time that it takes to start processes and to come home.
"""

from __future__ import annotations

import platform
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

ROUNDS = 3


class Timed(Trainer.add_on(MultiGPUAddon)):
    """Notes when each epoch began and ended; that comes home too."""

    def train_step(self, batch):
        x, y = batch
        return {"loss": F.cross_entropy(self.model(x), y)}

    def test_step(self, batch):
        return self.train_step(batch)

    def log_reset(self, epoch_end=False):
        self.__dict__.setdefault("began", []).append(time.perf_counter())
        super().log_reset(epoch_end)

    def metric_on_epoch_end(self):
        self.__dict__.setdefault("ended", []).append(time.perf_counter())
        return {}


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def convolutions() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 64, 10))


def measure(build, device, batch_size: int, n: int) -> tuple[float, float]:
    """Return the seconds of an epoch, the best of four, and those of the run that are none of the epochs'."""
    data = TensorDataset(torch.randn(n, 1, 8, 8), torch.randint(10, (n,)))
    model = build()
    trainer = Timed(model, device, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), log_bar=False)
    start = time.perf_counter()
    trainer.run(4, DataLoader(data, batch_size, shuffle=True))
    seconds = time.perf_counter() - start
    epochs = [end - begin for begin, end in zip(trainer.began, trainer.ended, strict=True)]
    return min(epochs), seconds - sum(epochs)


def main() -> None:
    torch.set_num_threads(1)
    print("| network, batch for each process | one process, ms/epoch | two | speed-up | start and end of a run, s |")
    print("|---|---|---|---|---|")
    for name, build, batch_size, n in (("linear", linear, 64, 8192), ("5 convolutions", convolutions, 64, 4096)):
        rounds = [
            (measure(build, "cpu", 2 * batch_size, n), measure(build, ["cpu", "cpu"], batch_size, n))
            for _ in range(ROUNDS)
        ]
        one = statistics.median(alone[0] for alone, _ in rounds)
        two = statistics.median(both[0] for _, both in rounds)
        overhead = statistics.median(both[1] for _, both in rounds)
        print(f"| {name}, {batch_size} | {1e3 * one:.0f} | {1e3 * two:.0f} | {one / two:.2f} | {overhead:.1f} |")
    print(
        f"\n{platform.processor() or platform.machine()}; Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
