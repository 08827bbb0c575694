"""World: the ranks that launchers set in the environment."""

from __future__ import annotations

import pytest

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
