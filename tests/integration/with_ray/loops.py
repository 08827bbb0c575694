"""What Ray's workers run: trainers in several ways, in one worker group, since starting one takes long."""

from __future__ import annotations

import json
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon

EPOCHS = 4
Joined = Classifier.add_on(MultiGPUAddon)


class FromRayData(Joined):
    """Receives what Ray Data gives: a dict of the columns."""

    def train_step(self, batch):
        return {**super().train_step((batch["x"], batch["y"])), "output": batch["index"]}


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(64, 10, generator=torch.Generator().manual_seed(1))
    return x, (x.sum(1) > 0).long()


def loaders() -> tuple[Any, Any]:
    data = TensorDataset(*samples())
    return DataLoader(data, 4, shuffle=True), DataLoader(data, 16)


def build(cls: type = Joined, device: Any = "cpu", **kwargs: Any) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 2)
    return cls(model, device, optimizer=torch.optim.Adam(model.parameters(), 0.01), log_bar=False, **kwargs)


def facts(trainer: Any) -> dict[str, Any]:
    return {
        "train": [record["train_loss"] for record in trainer.history],
        "test": [record.get("test_loss") for record in trainer.history],
        "steps": [float(loss) for loss in trainer.get_loss_history("train")],
        "weights": trainer.model.weight.flatten().tolist(),
    }


def every_way(config: dict[str, Any]) -> None:
    """Train in every way, one after another; each worker writes what it has found."""
    import lightning.pytorch as L
    import ray.train
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, RayTrainReportCallback, prepare_trainer

    def recipe() -> dict[str, Any]:
        return {"strategy": RayDDPStrategy(), "plugins": [RayLightningEnvironment()]}

    found: dict[str, Any] = {}
    joined = build(callbacks=[RayTrainReportCallback()])
    joined.run(EPOCHS, *loaders())
    found["add-on"] = facts(joined)

    by_recipe = build(Classifier, lightning=recipe(), callbacks=[RayTrainReportCallback()])
    by_recipe.run(EPOCHS, *loaders())
    found["recipe"] = facts(by_recipe)

    own = build(Classifier)
    own_trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices="auto",
        **recipe(),
        callbacks=[RayTrainReportCallback()],
        enable_progress_bar=False,
        enable_checkpointing=False,
        logger=False,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare_trainer(own_trainer).fit(own.lightning_module, *loaders())
    found["own"] = facts(own)
    found["warnings of own"] = [str(warning.message) for warning in caught if "Ray Train" in str(warning.message)]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        alone = build(Classifier)
        alone.run(1, *loaders())
        alone.run(1, *loaders())
    found["alone"] = facts(alone)
    found["warnings of alone"] = [str(warning.message) for warning in caught if "Ray Train" in str(warning.message)]

    shard = ray.train.get_dataset_shard("train")
    from_ray_data = build(FromRayData)
    from_ray_data.run(2, shard.iter_torch_batches(batch_size=4))
    found["ray data"] = facts(from_ray_data)
    found["indices"] = sorted(torch.cat(from_ray_data.log_train["output"]).tolist())

    rank = ray.train.get_context().get_world_rank()
    Path(config["folder"], f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def killed_once(config: dict[str, Any]) -> None:
    """Train with Ray's own resume; the worker of rank 1 is killed in the third epoch of the first attempt."""
    import ray.train
    from ray.train.lightning import RayTrainReportCallback

    checkpoint, rank = ray.train.get_checkpoint(), ray.train.get_context().get_world_rank()

    class Killed(Joined):
        def train_step(self, batch):
            if checkpoint is None and rank == 1 and self.progress_checker.get_epoch() == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().train_step(batch)

    trainer = build(Killed, callbacks=[RayTrainReportCallback()])
    path = None if checkpoint is None else Path(checkpoint.path, RayTrainReportCallback.CHECKPOINT_NAME)
    loader, valid_loader = loaders()
    trainer.run(until=EPOCHS, loader=loader, valid_loader=valid_loader, ckpt_path=path)
    found = {"resumed": checkpoint is not None, **facts(trainer)}
    Path(config["folder"], f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def trial(config: dict[str, Any]) -> None:
    """Train alone, as a trial of Ray Tune, and report each epoch."""
    from ray.tune.integration.pytorch_lightning import TuneReportCallback

    trainer = build(Classifier, callbacks=[TuneReportCallback({"loss": "val_loss"}, on="validation_end")])
    trainer.optimizer.param_groups[0]["lr"] = config["lr"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trainer.run(3, *loaders())


def main(folder: str) -> None:
    """Train in processes of torchrun, for comparison."""
    trainer = build()
    trainer.run(EPOCHS, *loaders())
    Path(folder, f"rank{os.environ['RANK']}.json").write_text(json.dumps(facts(trainer)), encoding="utf-8")
