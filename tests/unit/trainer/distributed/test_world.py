"""World: the ranks that launchers set in the environment, and what the ranks exchange."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from zae_engine.trainer.distributed import world as module
from zae_engine.trainer.distributed.world import World

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SLURM = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}


def facts(environment):
    world = World.from_environment(environment)
    return world and (world.rank, world.size, world.local_rank, world.local_size, world.nodes, world.launcher)


def test_launchers_are_distinguished():
    assert facts({**TORCHRUN, "TORCHELASTIC_RUN_ID": "x"}) == (3, 4, 1, 2, 2, "torchrun")
    assert facts(TORCHRUN) == (3, 4, 1, 2, 2, "environment")
    assert facts(SLURM) == (5, 8, 1, 4, 2, "slurm")
    assert facts({**SLURM, **TORCHRUN, "TORCHELASTIC_RUN_ID": "x"})[-1] == "torchrun"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        {**SLURM, "SLURM_NTASKS": "1", "SLURM_NNODES": "1"},
        {**SLURM, "SLURM_JOB_NAME": "interactive"},
    ],
)
def test_a_process_by_itself_has_no_world(environment):
    assert facts(environment) is None


def test_a_rank_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="make no sense"):
        World.from_environment({**TORCHRUN, "RANK": "first"})


def exchange(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=3)
    world = World(rank, 3, rank, 3)
    values = [{"rank": rank, "rows": torch.arange(1000 * rank)}, "x" * (30 - 15 * rank), None]
    gathered = [world.gather(value) for value in values]
    module.MESSAGE_BYTES = 50  # many messages, of which some have nothing of some ranks
    torch.save((gathered, [world.gather(value) for value in values], world.gather_ints(rank)), f"{folder}/{rank}")
    dist.destroy_process_group()


def test_every_rank_gets_the_values_of_all_in_one_message_or_in_many(tmp_path):
    mp.spawn(exchange, (str(tmp_path),), nprocs=3)
    for rank in range(3):
        *gathered, ints = torch.load(tmp_path / str(rank), weights_only=False)
        assert ints == [0, 1, 2]
        for first, texts, nothing in gathered:
            assert [value["rank"] for value in first] == [0, 1, 2]
            assert [len(value["rows"]) for value in first] == [0, 1000, 2000]
            assert torch.equal(first[2]["rows"], torch.arange(2000))
            assert texts == ["x" * 30, "x" * 15, ""]
            assert nothing == [None] * 3
