"""Process group: what Lightning reads of a world, and how its processes connect."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist
from zae_lightning.launchers.process_group import ProcessEnvironment, connect, disconnect

from zae_engine.trainer.distributed.world import World


@pytest.fixture
def trainer(make):
    """A trainer of a world of one process, which leaves no process group."""
    trainer = make()
    trainer._zae_state.process.world = World(0, 1, 0, 1)
    yield trainer
    disconnect()


def test_lightning_reads_ranks_and_sizes(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "node-0")
    monkeypatch.setenv("MASTER_PORT", "1234")
    environment = ProcessEnvironment(World(rank=5, size=8, local_rank=1, local_size=4))
    assert (environment.global_rank(), environment.world_size()) == (5, 8)
    assert (environment.local_rank(), environment.node_rank()) == (1, 1)
    assert (environment.main_address, environment.main_port) == ("node-0", 1234)


def test_lightning_starts_no_processes_and_changes_no_ranks():
    environment = ProcessEnvironment(World(rank=1, size=2, local_rank=1, local_size=2))
    environment.set_global_rank(0)
    environment.set_world_size(7)
    assert environment.creates_processes_externally
    assert not ProcessEnvironment.detect()
    assert (environment.global_rank(), environment.world_size()) == (1, 2)


def test_processes_connect_through_a_store(trainer):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    connect(trainer, ("127.0.0.1", store.port))
    value = torch.ones(2)
    dist.all_reduce(value)
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")


def test_processes_connect_through_a_url(trainer, tmp_path):
    connect(trainer, init_method=f"file://{tmp_path}/rendezvous")
    assert dist.is_initialized()


def test_under_slurm_the_address_is_that_of_the_first_node(trainer, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    monkeypatch.setenv("SLURM_JOB_ID", str(os.getpid()))
    trainer._zae_state.process.world.launcher = "slurm"
    connect(trainer)
    assert dist.is_initialized()
    assert os.environ["MASTER_ADDR"] == "localhost"


def test_disconnecting_ends_the_group_once(trainer, tmp_path):
    disconnect()
    connect(trainer, init_method=f"file://{tmp_path}/rendezvous")
    disconnect()
    assert not dist.is_initialized()
    disconnect()
