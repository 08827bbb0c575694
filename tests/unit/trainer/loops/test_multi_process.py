"""Multiple processes: when a trainer needs them, and what a single process does instead."""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon
from zae_engine.trainer.distributed.sharding import ShardedLoader
from zae_engine.trainer.distributed.world import World
from zae_engine.trainer.loops import multi_process

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)
Distributed = Classifier.add_on(MultiGPUAddon)


def test_processes_are_for_several_devices_of_a_distributed_trainer(make):
    assert not multi_process.should_launch(make())
    assert multi_process.should_launch(make(Distributed, device=["cpu", "cpu"]))
    assert multi_process.should_launch(make(device=["cpu", "cpu"], lightning={"strategy": "ddp"}))


def test_one_device_is_warned_of_once(make):
    trainer = make(Distributed)
    with pytest.warns(UserWarning, match="There is one device"):
        assert not multi_process.should_launch(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not multi_process.should_launch(trainer)


def test_a_rank_starts_no_processes(make):
    trainer = make(Distributed, device=["cpu", "cpu"])
    trainer._zae_state.process.world = World(0, 2, 0, 2)
    assert not multi_process.should_launch(trainer)


def test_devices_that_are_not_used_are_warned_of_at_the_line_of_the_user(make):
    model = torch.nn.Linear(10, 2)
    with pytest.warns(UserWarning, match="the trainer has no MultiGPUAddon") as caught:
        Classifier(model, ["cpu", "cpu"])
    assert caught[0].filename == __file__


def test_a_single_process_keeps_its_loaders_logs_and_metrics(make, loader):
    trainer = make()
    with multi_process.joined_process_group(trainer, loader, None) as loaders:
        assert loaders == (loader, None)
    multi_process.start_log_tracking(trainer)
    trainer.run_batch(BATCH)
    multi_process.gather_logs(trainer)
    assert len(trainer.log_train["loss"]) == 1
    assert multi_process.sync_metrics(trainer, {"a": 1.0}) == {"a": 1.0}


def test_loaders_are_sharded_and_other_values_are_not(make, loader):
    trainer, world = make(Distributed, device=["cpu", "cpu"]), World(0, 2, 0, 2)
    sharded, number, nothing = multi_process.shard_loaders(trainer, world, loader, 3, None)
    assert isinstance(sharded, ShardedLoader)
    assert len(sharded) == 2
    assert (number, nothing) == (3, None)
    assert multi_process.shard_loaders(trainer, world, sharded)[0] is sharded


def test_a_distributed_sampler_of_the_users_own_leaves_the_loaders_alone(make, loader):
    trainer = make(Distributed, device=["cpu", "cpu"], lightning={"use_distributed_sampler": False})
    assert multi_process.shard_loaders(trainer, World(0, 2, 0, 2), loader) == (loader,)
