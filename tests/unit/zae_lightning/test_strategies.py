"""Strategies: the arguments of ``L.Trainer`` for the devices of a trainer; no accelerator is needed."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from zae_lightning.strategies import accelerator_arguments, placement_arguments, plugins_for, strategy_for

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon
from zae_engine.trainer.distributed.world import World


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", {"accelerator": "cpu", "devices": 1}),
        ("mps", {"accelerator": "mps", "devices": 1}),
        ("cuda:0", {"accelerator": "cuda", "devices": [0]}),
        ("cuda:3", {"accelerator": "cuda", "devices": [3]}),
    ],
)
def test_accelerator_and_device_number(device, expected):
    assert accelerator_arguments(torch.device(device)) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_training_on_cuda_leaves_everything_there(make, loader, valid_loader):
    trainer = make(device="cuda", optimizer=torch.optim.Adam)
    trainer.run(2, loader, valid_loader)
    assert next(trainer.model.parameters()).is_cuda
    assert all(state["exp_avg"].is_cuda for state in trainer.optimizer.state.values())
    trainer.run(1, loader)
    assert all(not value.is_cuda for value in trainer.log_train["loss"])


# Several devices: the arguments need none of them either


def place(devices, world=None, strategy="auto"):
    return placement_arguments([torch.device(name) for name in devices], 0, world, strategy)


def test_gpus_keep_their_order_and_get_ddp():
    chosen = place(["cuda:1", "cuda:0"], World(0, 2, 0, 2))
    assert chosen["accelerator"] == "cuda"
    assert chosen["devices"] == [1, 0]
    assert chosen["num_nodes"] == 1
    assert isinstance(chosen["strategy"], DDPStrategy)
    assert chosen["use_distributed_sampler"] is False


def test_lightning_receives_the_number_of_nodes():
    chosen = place(["cuda:0", "cuda:1"], World(3, 4, 1, 2, "torchrun"))
    assert chosen["num_nodes"] == 2
    [environment] = chosen["plugins"]
    assert (environment.global_rank(), environment.world_size()) == (3, 4)
    assert (environment.local_rank(), environment.node_rank()) == (1, 1)


def test_one_process_leaves_the_strategy_to_lightning_unless_one_is_given():
    assert "strategy" not in place(["cpu"])
    assert isinstance(place(["cpu"], strategy="ddp")["strategy"], DDPStrategy)


def test_a_cluster_environment_of_the_users_own_replaces_the_adapters():
    world, other = World(0, 1, 0, 1), AsyncCheckpointIO()
    own, given = place(["cpu"])["plugins"], LightningEnvironment()
    assert plugins_for(own, [other], world) == [*own, other]
    assert plugins_for(own, [other, given], world) == [other, given]
    assert plugins_for(own, [given], None) == [given]


def test_a_cluster_environment_that_contradicts_the_processes_is_an_error():
    world = World(1, 2, 1, 2, "torchrun")
    with pytest.raises(ValueError, match=r"LightningEnvironment says .* rank 0 of 1 .*has rank 1 of 2"):
        plugins_for([], [LightningEnvironment()], world)


@pytest.mark.parametrize("name", ["auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_no_strategy_starts_processes_of_its_own(name):
    trainer = L.Trainer(**place(["cpu", "cpu"], World(0, 2, 0, 2), name), logger=False, enable_checkpointing=False)
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.strategy.launcher is None
    assert trainer.world_size == 2


def test_options_in_names_are_kept_without_the_start_method():
    given = strategy_for("ddp_notebook_find_unused_parameters_true")
    assert given._ddp_kwargs == {"find_unused_parameters": True}
    assert isinstance(strategy_for("fsdp"), FSDPStrategy)


def test_an_instance_is_copied():
    own = DDPStrategy(static_graph=True)
    assert strategy_for(own) is not own
    assert strategy_for(own)._ddp_kwargs == {"static_graph": True}


def test_the_method_that_makes_the_launcher_still_has_this_name():
    def launcher_of(strategy):
        arguments = {**place(["cpu", "cpu"], World(0, 2, 0, 2)), "strategy": strategy}
        return L.Trainer(**arguments, logger=False, enable_checkpointing=False).strategy.launcher

    assert launcher_of(DDPStrategy(start_method="spawn")) is not None
    assert launcher_of(strategy_for(DDPStrategy(start_method="spawn"))) is None


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_the_second_one_first(make, loader, valid_loader):
    cls = Classifier.add_on(MultiGPUAddon, PrecisionMixerAddon)
    trainer = make(cls, device=["cuda:1", "cuda:0"], optimizer=torch.optim.Adam, precision="bf16")
    trainer.run(2, loader, valid_loader)
    assert {p.device for p in trainer.model.parameters()} == {torch.device("cuda:1")}
    assert all(state["exp_avg"].device.index == 1 for state in trainer.optimizer.state.values())
    assert len(trainer.get_loss_history()) == 4
    assert len(trainer.inference(valid_loader)) == 2
