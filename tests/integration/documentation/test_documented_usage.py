"""The usages of add-ons that 0.7.6 documents, as written there but for the device and offline web loggers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

from zae_engine.schedulers import CosineAnnealingScheduler
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import (
    AddOnBase,
    NeptuneLoggerAddon,
    PrecisionMixerAddon,
    StateManagerAddon,
    WandBLoggerAddon,
)


class DummyDataset(Dataset):
    def __init__(self, size):
        self.data = torch.rand(size, 10)
        self.labels = (self.data.mean(dim=1) > 0.5).long()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, idx):
        return self.data[idx], self.labels[idx]


class BaseTrainer(Trainer):
    def train_step(self, batch):
        data, labels = batch
        outputs = self.model(data)
        loss = nn.CrossEntropyLoss()(outputs, labels)
        return {"loss": loss}

    def test_step(self, batch):
        return self.train_step(batch)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    model = nn.Linear(10, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    scheduler = CosineAnnealingScheduler(optimizer=optimizer, total_iters=100)
    loader = DataLoader(DummyDataset(64), batch_size=32, shuffle=True)
    return {"model": model, "device": "cpu", "optimizer": optimizer, "scheduler": scheduler}, loader


def wandb_params():
    return {"project": "my_project", "mode": "offline", "dir": os.getcwd()}


def neptune_params():
    return {"project_name": "my_workspace/my_project", "api_tkn": "your_api_token", "mode": "offline"}


def test_state_manager_and_wandb(parts):
    arguments, loader = parts
    MyTrainer = BaseTrainer.add_on(StateManagerAddon, WandBLoggerAddon)
    trainer = MyTrainer(**arguments, mode="train", save_path="./checkpoints", web_logger={"wandb": wandb_params()})
    trainer.run(n_epoch=2, loader=loader, valid_loader=loader)
    assert sorted(os.listdir("checkpoints")) == ["model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"]
    assert list(Path("wandb").glob("offline-run-*"))


def test_neptune_alone_and_with_wandb(parts):
    arguments, loader = parts
    trainer = BaseTrainer.add_on(NeptuneLoggerAddon)(**arguments, web_logger={"neptune": neptune_params()})
    trainer.run(n_epoch=1, loader=loader)
    trainer_with_loggers = BaseTrainer.add_on(WandBLoggerAddon, NeptuneLoggerAddon)(
        **arguments, web_logger={"wandb": wandb_params(), "neptune": neptune_params()}
    )
    trainer_with_loggers.run(n_epoch=1, loader=loader)
    assert all(run.is_live() for run in trainer_with_loggers.web_logger.values())


@pytest.mark.parametrize("precision", ["bf16", ["bf16", "fp16"]])
def test_precision_mixer(parts, precision):
    arguments, loader = parts
    trainer = BaseTrainer.add_on(PrecisionMixerAddon)(**arguments, precision=precision)
    trainer.run(n_epoch=1, loader=loader, valid_loader=loader)
    assert len(trainer.log_test["loss"]) == 2


def test_a_custom_logger_and_a_custom_method(parts, capsys):
    arguments, loader = parts

    class CustomLoggerAddon(AddOnBase):
        @classmethod
        def apply(cls, base_cls):
            class TrainerWithCustomLogger(base_cls):
                def __init__(self, *args, custom_param=None, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.custom_param = custom_param

                def logging(self, step_dict):
                    super().logging(step_dict)
                    print(f"Custom logging: {step_dict}")

                def custom_method(self):
                    print("Custom method called")

            return TrainerWithCustomLogger

    trainer = BaseTrainer.add_on(CustomLoggerAddon)(**arguments, custom_param="Log everything")
    trainer.run(n_epoch=1, loader=loader)
    trainer.custom_method()
    out = capsys.readouterr().out
    assert out.count("Custom logging: {'loss'") == 2
    assert "Custom method called" in out


def test_add_ons_are_found_where_they_were():
    from zae_engine.trainer.addons.core import AddOnBase as Core
    from zae_engine.trainer.addons.mix_precision import PrecisionMixerAddon as Mixer
    from zae_engine.trainer.addons.state_manager import StateManagerAddon as Manager
    from zae_engine.trainer.addons.web_logger import NeptuneLoggerAddon as Neptune
    from zae_engine.trainer.addons.web_logger import WandBLoggerAddon as WandB

    assert (Core, Mixer, Manager) == (AddOnBase, PrecisionMixerAddon, StateManagerAddon)
    assert (Neptune, WandB) == (NeptuneLoggerAddon, WandBLoggerAddon)
