"""Data module: which calls Lightning's trainer of a run makes, and that the object is afterwards as before."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from zae_lightning.dataloader import DataLoaderWrapper
from zae_lightning.datamodule import (
    LoaderRequests,
    is_lightning_data_module,
    lent_to_lightning,
    overridden_hooks,
)

from zae_engine.trainer.loops.fit_hooks import FitHooks


class Data(L.LightningDataModule):
    def __init__(self, dataset):
        super().__init__()
        self.dataset, self.batch_size, self.calls = dataset, 8, []

    def setup(self, stage):
        self.calls.append(f"setup {self.trainer is not None}")

    def teardown(self, stage):
        self.calls.append("teardown")

    def train_dataloader(self):
        self.calls.append("train")
        return DataLoader(self.dataset, self.batch_size)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.calls.append("transfer")
        return batch


@pytest.fixture
def data(dataset):
    return Data(dataset)


@pytest.fixture
def hooks(make, loader):
    trainer = make()
    trainer.loader = loader
    return FitHooks(trainer, 1, {})


def test_an_object_with_the_methods_is_no_lightning_data_module(data):
    assert is_lightning_data_module(data)
    assert not is_lightning_data_module([1])


def test_the_hooks_that_only_lightning_calls_are_named(data):
    assert overridden_hooks(data) == ["on_after_batch_transfer"]
    assert overridden_hooks(L.LightningDataModule()) == []


def test_the_first_request_receives_the_loader_of_the_run(data, hooks, make):
    wrapper, module = DataLoaderWrapper([1]), make().lightning_module
    answer = LoaderRequests(data, hooks, module).answer("train", wrapper)
    assert answer() is wrapper
    assert data.calls == []
    again = answer()
    assert again.loader is hooks.loader
    assert module._loader is again
    assert data.calls == ["train"]


def test_another_batch_size_asks_the_data_module(data, hooks, make):
    answer = LoaderRequests(data, hooks, make().lightning_module).answer("train", DataLoaderWrapper([1]))
    data.batch_size = 4
    assert answer().loader.batch_size == 4


def test_without_a_loader_there_are_no_batches(data, hooks, make):
    assert LoaderRequests(data, hooks, make().lightning_module).answer("valid", None)() == []


def test_the_object_is_afterwards_as_before(data, hooks, make):
    before = dict(vars(data))
    own = data.setup = lambda stage: None
    module = make().lightning_module
    with lent_to_lightning(data, hooks, module, {"train": DataLoaderWrapper([1]), "valid": None}):
        assert data.setup is not own
        assert "train_dataloader" in vars(data)
        assert "val_dataloader" not in vars(data)  # it defines none
    assert vars(data) == {**before, "setup": own}


def test_a_run_calls_each_method_once_and_the_transfer_for_every_batch(make, data):
    seen = []

    class Look(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.append((trainer.datamodule is data, data.trainer is trainer))

    trainer = make(callbacks=Look())
    trainer.run(1, data)
    assert seen == [(True, True)]
    assert data.calls == ["setup True", "train", "transfer", "transfer", "transfer", "teardown"]


def test_hooks_of_a_data_module_in_several_processes_are_a_warning(make, data):
    from zae_engine.trainer.addons import MultiGPUAddon

    trainer = make(type(make()).add_on(MultiGPUAddon), device=["cpu", "cpu"])
    with pytest.warns(UserWarning, match="on_after_batch_transfer is not called"):
        trainer.run(1, data)
