"""Sharding: which modules have ``configure_model``, and what it does in an ``L.Trainer``."""

from __future__ import annotations

import lightning.pytorch as L
from lightning.pytorch.utilities.model_helpers import is_overridden

from tests.unit.trainer.loops.test_sharding_hooks import Sharded


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
