"""Sharding: which modules have ``configure_model``, and what it does in an ``L.Trainer``."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

from tests.conftest import Classifier
from tests.unit.trainer.loops.test_sharding_hooks import Sharded
from zae_engine.trainer.utilities.sharded_tensors import is_sharded


def test_only_the_module_of_a_trainer_that_shards_overrides_configure_model(make):
    assert is_overridden("configure_model", make(Sharded).lightning_module)
    assert not is_overridden("configure_model", make().lightning_module)


def test_without_a_device_mesh_the_model_stays_whole(make, loader):
    trainer = make(Sharded)
    trainer.run(1, loader)
    own = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    own.fit(trainer.lightning_module, loader)
    assert trainer.calls == 0
    assert trainer.progress_checker.get_epoch() == 3


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_as_by_a_module_that_is_whole(make, loader, algorithm):
    losses = []
    for cls in (Sharded, Classifier):
        torch.manual_seed(1)
        trainer = make(cls, lightning={"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm})
        trainer.run(2, loader)
        losses.append(torch.stack(trainer.get_loss_history()))
    assert torch.allclose(*losses)


def test_one_process_trains_with_the_strategy_too(make, loader, valid_loader):
    torch.manual_seed(1)
    whole = make()
    whole.run(2, loader, valid_loader)
    torch.manual_seed(1)
    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1)
    sharded = make(Sharded, lightning={"strategy": strategy})
    try:
        sharded.run(1, loader, valid_loader)
        sharded.run(1, loader, valid_loader)
        assert sharded.calls == 1
        assert is_sharded(sharded.model.weight)
        assert torch.allclose(*(torch.stack(trainer.get_loss_history()) for trainer in (whole, sharded)))
    finally:
        torch.distributed.destroy_process_group()
