"""Training loop in several processes: with DDP it does what Lightning's loop does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .plays_in_processes import CASES

ROOT = Path(__file__).parents[4]
IN_LIGHTNINGS_LOOP = ("all hooks", "accumulation")  # most batches of these


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the results of both ranks."""
    file = tmp_path_factory.mktemp("ranks") / "results"
    program = "tests.unit.zae_lightning.performance.plays_in_processes"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", program, str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [torch.load(f"{file}.{rank}", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rank", [0, 1])
def test_callbacks_see_what_they_see_in_lightnings_loop(results, case, rank):
    result = results[rank][case]
    assert result["n"] > 30
    assert result["hooks"]
    assert result["same"]


@pytest.mark.parametrize("case", CASES)
def test_the_fast_loops_run(results, case):
    result = results[0][case]
    assert case in IN_LIGHTNINGS_LOOP or all(result["fast"])
    assert result["fast"]
    assert not any(result["slow"])


def test_a_replaced_method_of_the_strategy_is_called_by_lightnings_loop(results):
    result = results[0]["replaced"]
    assert result["calls"] == 5
    assert not any(result["fast"][3:])
