"""Detached hooks: a copy of the generated module has the weights, and says that it has no trainer."""

from __future__ import annotations

import copy
import pickle

import lightning.pytorch as L
import pytest
import torch
from zae_lightning.detached import DetachedHooks

from tests.conftest import Classifier


class OwnBatches(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


@pytest.mark.parametrize("cls", [Classifier, OwnBatches])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_has_weights_of_its_own(make, cls, copied):
    module = make(cls).lightning_module
    x = torch.ones(2, 10)
    twin = copied(module)
    assert torch.equal(twin(x), module(x))
    assert twin.automatic_optimization is module.automatic_optimization
    twin.model.weight.data.zero_()
    assert module.model.weight.abs().sum() > 0


def test_a_copy_refuses_to_train_and_says_what_to_do(make, loader):
    twin = copy.deepcopy(make().lightning_module)
    own = L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    with pytest.raises(RuntimeError, match=r"copy\.deepcopy\(trainer\)\.lightning_module"):
        own.fit(twin, loader)


def test_what_a_copy_lacks_is_missing_and_no_error(make):
    twin = copy.deepcopy(make().lightning_module)
    assert not hasattr(twin, "lr")
    assert not hasattr(twin, "batch_size")
    twin.model = torch.nn.Linear(10, 3)
    assert twin(torch.ones(1, 10)).shape == (1, 3)
    assert copy.deepcopy(DetachedHooks()).model is None


def test_a_copy_of_the_trainer_trains(make, loader):
    trainer = make()
    module = copy.deepcopy(trainer).lightning_module
    own = L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    before = trainer.model.weight.detach().clone()
    own.fit(module, loader)
    assert torch.equal(trainer.model.weight, before)
    assert not torch.equal(module.model.weight, before)
