"""Cases beside modules and trainers of Lightning's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from zae_engine.trainer.utilities.sharded_tensors import gathered

from .common import BATCH, EPOCHS, SIZE, case, data, loaders, model, observe, trainer_of


def lightning_trainer(strategy: Any) -> Any:
    """Return an ``L.Trainer`` of Lightning alone."""
    import lightning.pytorch as L

    return L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=SIZE,
        strategy=strategy,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@case
def in_a_trainer_of_lightnings(folder: Path) -> dict[str, Any]:
    """Run the module in an ``L.Trainer`` whose strategy has a device mesh."""
    trainer = trainer_of()
    strategy = trainer._zae_state.config.trainer_kwargs.get("strategy", "auto")
    own = lightning_trainer(strategy)
    batches = list(DataLoader(data(), BATCH // SIZE))
    own.fit(trainer.lightning_module, DataLoader(batches[int(os.environ.get("RANK", 0)) :: SIZE], batch_size=None))
    return {"weights": dict(gathered(trainer.model.state_dict())), "epoch": trainer.progress_checker.get_epoch()}


@case
def as_a_lightning_module_by_hand(folder: Path) -> dict[str, Any]:
    """Train without shuffling; beside it a LightningModule that somebody writes by hand, on the same batches."""
    batches = list(DataLoader(data(), BATCH // SIZE))
    torch.manual_seed(3)
    trainer = trainer_of(optimizer=torch.optim.AdamW)
    trainer.run(EPOCHS, batches, loaders()[1])
    if SIZE == 1:
        return observe(trainer)
    torch.manual_seed(3)
    expected = with_lightning_alone(batches)
    found = torch.stack(trainer.get_loss_history("train"))
    assert (expected - found).abs().max() < 1e-6, (expected, found)
    return observe(trainer)


def with_lightning_alone(batches: list[Any]) -> torch.Tensor:
    """Return the mean losses of the ranks in a training with Lightning alone."""
    import lightning.pytorch as L
    import torch.distributed as dist
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.losses = model(), []

        def configure_model(self) -> None:
            for layer in self.model:
                if isinstance(layer, nn.Linear):
                    fully_shard(layer, mesh=self.device_mesh["data_parallel"])
            fully_shard(self.model, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y, _ = batch
            loss = F.cross_entropy(self.model(x), y)
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> Any:
            first, rest = self.model[0].parameters(), self.model[1:].parameters()
            groups = [{"params": first, "lr": 0.015, "weight_decay": 0.01}, {"params": rest}]
            optimizer = torch.optim.AdamW(groups, lr=0.03)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

    module = Module()
    strategy = ModelParallelStrategy(data_parallel_size=SIZE, tensor_parallel_size=1)
    own = lightning_trainer(strategy)
    own.fit(module, DataLoader(batches[int(os.environ["RANK"]) :: SIZE], batch_size=None))
    losses = torch.stack(module.losses)
    dist.all_reduce(losses)
    return losses / SIZE
