"""Runs a trainer for four epochs; or for two and a bit, until it breaks; or goes on from the files of that.

Each part is a process of its own: ``python -m tests.integration.resume.resume_scenarios whole|broken|resumed folder``
prints a line of JSON for every scenario, or for those that are named behind the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon, StateManagerAddon

EPOCHS, STEPS = 4, 6


class Story(Trainer.add_on(StateManagerAddon)):
    """Its test loss falls in every epoch, so each is saved; what it learns by is in ``mse``."""

    breaks_at = None

    def train_step(self, batch):
        x, y = batch
        if self.breaks_at is not None and self.progress_checker.get_epoch() == self.breaks_at:
            raise InterruptedError("the power went off")
        noise = random.random() + np.random.rand()
        return {"loss": torch.nn.functional.mse_loss(self.model(x), y) * (1 + 0.01 * noise)}

    def test_step(self, batch):
        x, y = batch
        mse = torch.nn.functional.mse_loss(self.model(x), y)
        return {"loss": torch.tensor(1.0 / self.progress_checker.get_epoch()), "mse": mse}


class OwnBatches(Story):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class OwnEpochs(Story):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


class OnPlateau(Story):
    """Its loss stays where it is for the scheduler to see, but each epoch is saved."""

    def check_better(self, cur_epoch, cur_loss):
        return super().check_better(cur_epoch, 1.0 / (cur_epoch + 1))

    def test_step(self, batch):
        step_dict = super().test_step(batch)
        return {**step_dict, "loss": torch.tensor(1.0)}


SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [1, 3], 0.5),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.3, 1.0, 3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 5, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 3),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.02, 2, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.02, total_steps=EPOCHS + 1),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)], o
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0),
    "WarmUpScheduler": lambda o: WarmUpScheduler(o, EPOCHS + 1),
    "CosineAnnealingScheduler": lambda o: CosineAnnealingScheduler(o, EPOCHS + 1, eta_min=1e-4),
    "SchedulerChain": lambda o: SchedulerChain(WarmUpScheduler(o, 2), CosineAnnealingScheduler(o, EPOCHS)),
}


def scenario(name, folder):
    """Return a trainer, its loaders, and where its Lightning checkpoints are (None: by save_state)."""
    cls, device, kwargs, scheduler, checkpoints = Story, "cpu", {}, "StepLR", None
    optimizer, generator, on_batch = torch.optim.Adam, None, False
    if name in SCHEDULERS:
        scheduler = name
        cls = OnPlateau if name == "ReduceLROnPlateau" else Story
    elif name == "bf16":
        cls, kwargs = Story.add_on(PrecisionMixerAddon), {"precision": "bf16"}
    elif name == "ema":
        kwargs = {"callbacks": [EMAWeightAveraging(decay=0.8)]}
    elif name == "swa":
        kwargs = {"callbacks": [StochasticWeightAveraging(swa_lrs=0.005, swa_epoch_start=2, annealing_epochs=2)]}
    elif name == "patience":
        kwargs = {"callbacks": [EarlyStopping("val_mse", patience=3, min_delta=10.0)]}
    elif name == "processes":
        cls, device = Story.add_on(MultiGPUAddon), ["cpu", "cpu"]
    elif name == "own batches":
        cls = OwnBatches
    elif name == "own epochs":
        cls = OwnEpochs
    elif name == "per batch":
        scheduler, on_batch = "OneCycleLR", True
    elif name == "momentum":
        optimizer = lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True)  # noqa: E731
    elif name == "generator":
        generator = torch.Generator().manual_seed(7)
    elif name == "accumulated":
        kwargs = {"lightning": {"accumulate_grad_batches": 4}}
    elif name.startswith("checkpoint"):
        checkpoints = Path(folder, "lightning", name)
        when = {"checkpoint": {"save_on_train_epoch_end": True}, "checkpoint of validation": {"every_n_epochs": 1}}
        parts = [ModelCheckpoint(checkpoints, "{epoch}", save_top_k=-1, **when.get(name, {}))]
        if name == "checkpoint of validation":
            parts[0]._save_on_train_epoch_end = False
        kwargs = {"callbacks": [*([EMAWeightAveraging(decay=0.8)] if name == "checkpoint of ema" else []), *parts]}
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
    )
    if name in ("swa", "ema", "checkpoint of ema"):  # SWA ends with an epoch more where there is batch norm
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    optimizer = optimizer(model.parameters(), lr=0.01)
    steps = EPOCHS * STEPS + 1
    made = lr_scheduler.OneCycleLR(optimizer, 0.02, steps) if on_batch else SCHEDULERS[scheduler](optimizer)
    trainer = cls(
        model,
        device,
        optimizer=optimizer,
        scheduler=made,
        scheduler_step_on_batch=on_batch,
        save_path=str(Path(folder, name.replace(" ", "_"))),
        log_bar=False,
        **kwargs,
    )
    data = TensorDataset(torch.randn(8 * STEPS, 4), torch.randn(8 * STEPS, 1))
    loaders = DataLoader(data, 8, shuffle=True, generator=generator), DataLoader(data, 16)
    return trainer, loaders, checkpoints


def fingerprint(trainer):
    tensors = [*trainer.model.state_dict().values()]
    tensors += [v for s in trainer.optimizer.state_dict()["state"].values() for v in s.values() if torch.is_tensor(v)]
    tensors += [*trainer.weight_buffer["weight"][-1].values()]
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in trainer.history]
    return {
        "tensors": hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest(),
        "records": records,
        "losses": [trainer.history.steps("train"), trainer.history.steps("test")],
        "best": [trainer.loss_buffer, trainer.weight_buffer["epoch"], trainer.saved_loss],
        "progress": repr(trainer.progress_checker),
        "lightning": [trainer.lightning_trainer.current_epoch, trainer.lightning_trainer.global_step],
        "rates": [group["lr"] for group in trainer.optimizer.param_groups],
        "random": [random.random(), np.random.rand(), torch.rand(1).item()],
        "waits": [getattr(callback, "wait_count", None) for callback in trainer.callbacks],
    }


def tell(part, name, folder):
    trainer, loaders, checkpoints = scenario(name, Path(folder, "whole" if part == "whole" else "broken"))
    if part == "whole":
        trainer.run(EPOCHS, *loaders)
    elif part == "broken":
        trainer.breaks_at = 3
        with contextlib.suppress(InterruptedError):
            trainer.run(EPOCHS, *loaders)
    else:
        random.random(), np.random.rand(3), torch.rand(5)
        if checkpoints is None:
            trainer.load_state()
            trainer.run(2, *loaders)
        else:
            trainer.run(2, *loaders, ckpt_path=checkpoints / "epoch=1.ckpt")
    print(json.dumps({"name": name, **fingerprint(trainer)}), flush=True)


NAMES = [
    *SCHEDULERS,
    *("bf16", "ema", "swa", "patience", "processes", "own batches", "own epochs", "per batch", "momentum", "generator"),
    *("accumulated", "checkpoint", "checkpoint of validation", "checkpoint of ema"),
]

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for each in sys.argv[3:] or NAMES:
        tell(sys.argv[1], each, sys.argv[2])
