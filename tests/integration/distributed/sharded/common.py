"""What the cases are made of.

Alone, a loader has batches of ``b`` and the model is whole; with ``n`` processes the loader has batches of ``b / n``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.utilities.sharded_tensors import gathered, is_sharded

SIZE = int(os.environ.get("WORLD_SIZE", 1))
CASES: dict[str, Callable[[Path], dict[str, Any]]] = {}
BATCH, EPOCHS = 8, 4


def case(function: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    CASES[function.__name__] = function
    return function


class Sharded(Trainer):
    """A classifier whose linear layers are sharded, each by itself."""

    def configure_model(self, device_mesh: Any) -> None:
        from torch.distributed.fsdp import fully_shard

        for layer in self.model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=device_mesh["data_parallel"])
        fully_shard(self.model, mesh=device_mesh["data_parallel"])

    def train_step(self, batch: Any) -> dict[str, Any]:
        x, y, index = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean(), "output": index}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def data(n: int = 40) -> TensorDataset:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long(), torch.arange(n))


def loaders(n: int = 40) -> tuple[DataLoader, DataLoader]:
    """Return a loader of five steps an epoch, and one of validation, of which each rank has as many batches."""
    return DataLoader(data(n), BATCH // SIZE, shuffle=True), DataLoader(data(32), 4)


def model(width: int = 9) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 2))


def trainer_of(
    cls: type = Sharded,
    optimizer: Any = torch.optim.Adam,
    lr: float = 0.03,
    tensor: int = 1,
    width: int = 9,
    **kwargs: Any,
) -> Any:
    distributed_checkpoint = kwargs.pop("save_distributed_checkpoint", True)
    net = model(width)
    groups = [{"params": net[0].parameters(), "lr": lr / 2, "weight_decay": 0.01}, {"params": net[1:].parameters()}]
    made = optimizer(groups, lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(made, 1, 0.9)
    if SIZE > 1:
        from lightning.pytorch.strategies import ModelParallelStrategy

        strategy = ModelParallelStrategy(
            data_parallel_size=SIZE // tensor,
            tensor_parallel_size=tensor,
            save_distributed_checkpoint=distributed_checkpoint,
        )
        kwargs["lightning"] = {"strategy": strategy, **kwargs.get("lightning", {})}
    return cls(net, "cpu", optimizer=made, scheduler=scheduler, log_bar=False, **kwargs)


def observe(trainer: Any, **more: Any) -> dict[str, Any]:
    """Return what a trainer holds, whole."""
    best = trainer.weight_buffer["weight"]
    return copy.deepcopy(
        {
            "losses": [torch.stack(trainer.get_loss_history(mode)) for mode in ("train", "test")],
            "history": [
                [record["train_loss"], record.get("test_loss", 0.0), record["lr"]] for record in trainer.history
            ],
            "weights": dict(gathered(trainer.model.state_dict())),
            "optimizer": gathered(trainer.optimizer.state_dict()["state"]),
            "rates": [group["lr"] for group in trainer.optimizer.param_groups],
            "best": [dict(gathered(weights)) for weights in best],
            "best epoch": [trainer.loss_buffer, trainer.weight_buffer["epoch"]],
            "epoch": trainer.progress_checker.get_epoch(),
            **more,
        }
    )


def run(trainer: Any, n: int = 40, epochs: int = EPOCHS, **kwargs: Any) -> Any:
    trainer.run(epochs, *loaders(n), **kwargs)
    assert SIZE == 1 or all(map(is_sharded, trainer.optimizer.param_groups[1]["params"]))
    return trainer
