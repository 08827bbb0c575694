"""Data modules: which loaders a stage uses, in which order the methods are called, and that `teardown` follows."""

from __future__ import annotations

import lightning.pytorch as L
import pytest

from zae_engine.trainer.data.datamodule import is_data_module, loaders_of


class Module(L.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.calls = []

    def prepare_data(self):
        self.calls.append("prepare_data")

    def setup(self, stage):
        self.calls.append(f"setup {stage}")

    def teardown(self, stage):
        self.calls.append(f"teardown {stage}")

    def train_dataloader(self):
        return ["train"]

    def test_dataloader(self):
        return ["test"]


class Complete(Module):
    def val_dataloader(self):
        return ["val"]

    def predict_dataloader(self):
        return ["predict"]


class Duck:
    """Has the methods of a data module, but not its class."""

    def prepare_data(self):
        pass

    def setup(self, stage):
        pass

    def teardown(self, stage):
        pass

    def train_dataloader(self):
        return ["duck"]


@pytest.mark.parametrize(
    ("cls", "stage", "loaders", "stage_of_module"),
    [
        (Complete, "fit", (["train"], ["val"]), "fit"),
        (Complete, "test", (["test"], None), "test"),
        (Complete, "predict", (["predict"], None), "predict"),
        (Module, "fit", (["train"], None), "fit"),
        (Module, "predict", (["test"], None), "test"),
    ],
)
def test_a_stage_uses_the_loaders_that_the_module_defines(cls, stage, loaders, stage_of_module):
    data = cls()
    with loaders_of(data, None, stage) as found:
        assert found == loaders
        assert data.calls == ["prepare_data", f"setup {stage_of_module}"]
    assert data.calls[2:] == [f"teardown {stage_of_module}"]


def test_a_validation_loader_of_the_user_replaces_that_of_the_module():
    with loaders_of(Complete(), ["own"], "fit") as found:
        assert found == (["train"], ["own"])


def test_teardown_follows_an_error():
    data = Module()
    with pytest.raises(KeyError), loaders_of(data, None, "fit"):
        raise KeyError
    assert data.calls[-1] == "teardown fit"


def test_a_loader_is_yielded_unchanged():
    loader, valid_loader = [1], [2]
    with loaders_of(loader, valid_loader, "fit") as found:
        assert found[0] is loader
        assert found[1] is valid_loader


def test_the_methods_make_a_data_module():
    assert is_data_module(Module())
    assert is_data_module(Duck())
    assert not is_data_module([1])
    with loaders_of(Duck(), None, "fit") as found:
        assert found == (["duck"], None)
