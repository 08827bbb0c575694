"""What the cases are made of.

Alone, a loader has batches of ``2 * b`` where each of two ranks has batches of ``b``.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

ALONE = "RANK" not in os.environ
CASES: dict[str, Any] = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Classifier(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch):
        x, y, index = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean(), "output": index}

    def test_step(self, batch):
        return self.train_step(batch)

    def metric_on_epoch_end(self):
        log = self.log_train if self.mode == "train" else self.log_test
        return {"seen": float(sum(len(v) for v in log["output"]))}


def dataset(n: int = 37) -> TensorDataset:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long(), torch.arange(n))


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def size(b: int) -> int:
    return 2 * b if ALONE else b


def trainer_of(cls=Classifier, net=None, optimizer=torch.optim.SGD, lr=0.1, **kwargs):
    net = net or model()
    made = optimizer(net.parameters(), lr=lr)
    if callable(kwargs.get("scheduler")):
        kwargs["scheduler"] = kwargs["scheduler"](made)
    return cls(net, "cpu", optimizer=made, log_bar=False, **kwargs)


def run(trainer, loader=None, valid_loader=None, n_epoch=2, **kwargs):
    loader = loader if loader is not None else DataLoader(dataset(), size(4), shuffle=True)
    trainer.run(n_epoch, loader, valid_loader, **kwargs)
    return trainer
