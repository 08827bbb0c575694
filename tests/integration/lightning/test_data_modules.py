"""A LightningDataModule in place of loaders."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader


class Data(L.LightningDataModule):
    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self.dataset, self.calls = dataset, []

    def prepare_data(self) -> None:
        self.calls.append("prepare")

    def setup(self, stage: str) -> None:
        self.calls.append(f"setup {stage}")

    def teardown(self, stage: str) -> None:
        self.calls.append(f"teardown {stage}")

    def train_dataloader(self) -> Any:
        return DataLoader(self.dataset, 8, shuffle=True)

    def test_dataloader(self) -> Any:
        return DataLoader(self.dataset, 6)


class Validated(Data):
    def val_dataloader(self) -> Any:
        return DataLoader(self.dataset, 12)


def test_run_trains_on_it_and_validates_if_it_can(make: Any, dataset: Any):
    for cls, n_tested in ((Data, 0), (Validated, 4)):
        data, trainer = cls(dataset), make()
        trainer.run(2, data)
        assert len(trainer.get_loss_history("train")) == 6
        assert len(trainer.get_loss_history("test")) == n_tested
        assert data.calls == ["prepare", "setup fit", "teardown fit"]


def test_a_validation_loader_beside_it_comes_first(make: Any, dataset: Any):
    trainer = make()
    trainer.run(1, Validated(dataset), DataLoader(dataset, 24))
    assert len(trainer.get_loss_history("test")) == 1


def test_inference_and_test_mode_use_its_test_data(make: Any, dataset: Any):
    data, trainer = Data(dataset), make()
    assert len(trainer.inference(data)) == 4
    assert data.calls == ["prepare", "setup test", "teardown test"]
    trainer.toggle("test")
    trainer.run(1, data)
    assert len(trainer.log_test["loss"]) == 4


def test_the_numbers_are_those_of_its_loaders(make: Any, dataset: Any):
    ends = []
    for data in (Data(dataset), Data(dataset).train_dataloader()):
        torch.manual_seed(0)
        trainer = make()
        trainer.run(2, data)
        ends.append(trainer.model.weight)
    assert torch.equal(*ends)
