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


# Sharded models


def model_parallel(data=2, tensor=1):
    from lightning.pytorch.strategies import ModelParallelStrategy

    return {"strategy": ModelParallelStrategy(data_parallel_size=data, tensor_parallel_size=tensor)}


@pytest.fixture
def two_ranks(monkeypatch):
    """Let this process be rank 1 of two, as a launcher starts it."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


class Sharding(Classifier):
    def configure_model(self, device_mesh):
        """Shard nothing here."""


def test_a_list_of_devices_and_the_older_strategy_are_errors_that_say_what_to_do(make):
    with pytest.raises(ValueError, match=r"torchrun --nproc-per-node=2 and give one device"):
        make(Sharding, device=["cpu", "cpu"], lightning=model_parallel())
    with pytest.raises(ValueError, match=r"ModelParallelStrategy\(data_parallel_size=n.*fully_shard"):
        make(lightning={"strategy": "fsdp"})


@pytest.mark.usefixtures("two_ranks")
@pytest.mark.parametrize(("sizes", "share"), [((2, 1), (1, 2, 1)), ((1, 2), (0, 1, 2)), (("auto", "auto"), (0, 1, 2))])
def test_tensor_parallel_ranks_have_the_same_share_of_the_data(make, sizes, share):
    """With "auto", Lightning's sizes are the number of nodes and the processes of one."""
    trainer = make(Sharding, lightning=model_parallel(*sizes))
    world = trainer._zae_state.process.world
    assert (world.data_rank, world.data_size, world.replicas) == share


@pytest.mark.usefixtures("two_ranks")
def test_sizes_that_are_not_those_of_the_processes_are_an_error(make):
    with pytest.raises(ValueError, match=r"data_parallel_size=2 and tensor_parallel_size=2.*number of processes, 2"):
        make(Sharding, lightning=model_parallel(2, 2))


@pytest.mark.usefixtures("two_ranks")
def test_a_configure_model_that_nothing_calls_is_warned_of(make):
    with pytest.warns(UserWarning, match="each process trains a copy of the whole model"):
        make(Sharding.add_on(MultiGPUAddon))

    class Other(Classifier):
        def configure_model(self):
            """Be a method of the user's own, from before the hook."""

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(Other.add_on(MultiGPUAddon))
        make(Sharding)  # of a single process


def test_the_model_of_a_sharding_trainer_waits_on_the_cpu(make):
    assert multi_process.keeps_model_on_cpu(make(Sharding, lightning=model_parallel(1, 1)))
    assert not multi_process.keeps_model_on_cpu(make(Sharding))


def test_a_batch_is_subtracted_from_the_samples_that_are_left(make):
    trainer = make(Distributed, device=["cpu", "cpu"])
    trainer._zae_state.process.world = World(0, 4, 0, 4, replicas=2)
    trainer.n_data, trainer.batch_size = 20, 3
    multi_process.count_batch(trainer)
    assert trainer.n_data == 14
