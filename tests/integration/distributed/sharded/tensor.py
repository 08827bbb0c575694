"""Cases of tensor parallelism, with four processes together with FSDP2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.utilities.sharded_tensors import gathered

from .common import BATCH, EPOCHS, SIZE, Sharded, case, data, loaders, observe, trainer_of


class TensorParallel(Sharded):
    """Two of the linear layers are divided over processes with the same batch; all are sharded over the others."""

    def configure_model(self, device_mesh: Any) -> None:
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        parallelize_module(self.model, device_mesh["tensor_parallel"], plan)
        if device_mesh["data_parallel"].size() > 1:
            fully_shard(self.model, mesh=device_mesh["data_parallel"])


def tensor_parallel(**kwargs: Any) -> Any:
    """Train with batches for one process, or for two of four."""
    trainer = trainer_of(TensorParallel, tensor=min(SIZE, 2), width=10, **kwargs)
    loader = DataLoader(data(37), BATCH // max(SIZE // 2, 1), shuffle=True)
    trainer.run(EPOCHS, loader, loaders()[1])
    outputs = trainer.predict(data(30).tensors[0], batch_size=7)
    return observe(trainer, evaluated=trainer.evaluate(loaders()[1]), outputs=outputs)


@case
def tensor_parallel_and_clipped(folder: Path) -> dict[str, Any]:
    return tensor_parallel(gradient_clip=0.1)


@case
def tensor_parallel_and_clipped_by_lightning(folder: Path) -> dict[str, Any]:
    return tensor_parallel(lightning={"gradient_clip_val": 0.1}, optimizer=torch.optim.SGD)


@case
def tensor_parallel_from_a_state(folder: Path) -> dict[str, Any]:
    """Load a state before the model is sharded, and after."""
    stateful = TensorParallel.add_on(StateManagerAddon)
    loader = DataLoader(data(), BATCH // max(SIZE // 2, 1), shuffle=True)
    first = trainer_of(stateful, tensor=min(SIZE, 2), width=10, save_path=folder / "state")
    first.run(2, loader)
    first.save_state()
    second = trainer_of(stateful, tensor=min(SIZE, 2), width=10, save_path=folder / "state")
    second.load_state()
    second.save_path = folder / "other"
    second.run(2, loader)
    first.load_state()
    first.run(2, loader)
    return {"first": tensor_observed(first), "second": tensor_observed(second), "losses": second.get_loss_history()}


def tensor_observed(trainer: Any) -> dict[str, Any]:
    state = gathered(trainer.optimizer.state_dict()["state"])
    return {"losses": trainer.get_loss_history(), "weights": dict(gathered(trainer.model.state_dict())), "state": state}
