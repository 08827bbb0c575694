"""Two ranks with batches of b do what one process does with batches of 2 b: the cases are in ``cases``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .cases import CASES

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

MODULE = "tests.integration.distributed.cases"
ROOT = Path(__file__).parents[3]
TOLERANCES = {"bf16": 2e-2}  # other batch sizes round differently; float32 agrees to the last digits but one
FLOAT32 = 1e-4


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("ranks") / "cases"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, "-W", "ignore", "-m", MODULE, str(file)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", MODULE, str(file)]
    for command in (alone, torchrun):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    return {name: torch.load(f"{file}.{name}", weights_only=False) for name in ("alone", "0", "1")}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_ends_up_with_what_one_process_has(played: dict[str, Any], name: str, rank: str) -> None:
    expected, found = played["alone"][name], played[rank][name]
    assert "error" not in expected, expected["error"]
    assert "error" not in found, found["error"]
    assert differences(expected, found, TOLERANCES.get(name, FLOAT32)) == []


def test_the_weights_of_both_ranks_are_the_same_to_the_bit(played: dict[str, Any]) -> None:
    for name in CASES:
        first, second = played["0"][name]["weights"], played["1"][name]["weights"]
        assert all(torch.equal(first[key], second[key]) for key in first), name


def test_the_cases_do_something(played: dict[str, Any]) -> None:
    assert played["alone"]["sgd"]["steps"] == 10
    assert len(played["0"]["a_second_run"]["losses"][0]) == 20
    assert played["0"]["sgd"]["metrics"][0]["seen"] == 37
    assert len(played["0"]["inference"]["outputs"]) == 31


def differences(expected: Any, found: Any, tolerance: float, path: str = "") -> list[str]:
    if isinstance(expected, dict):
        if set(expected) != set(found):
            return [f"{path}: keys {sorted(expected)} and {sorted(found)}"]
        return [d for key in expected for d in differences(expected[key], found[key], tolerance, f"{path}/{key}")]
    if isinstance(expected, (list, tuple)):
        if len(expected) != len(found):
            return [f"{path}: lengths {len(expected)} and {len(found)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, tolerance, f"{path}[{i}]")]
    if isinstance(expected, torch.Tensor):
        same = expected.shape == found.shape and expected.dtype == found.dtype
        if same and torch.allclose(expected.double(), found.double(), rtol=tolerance, atol=tolerance / 100):
            return []
        return [f"{path}: {expected} and {found}"]
    if isinstance(expected, float):
        return [] if found == pytest.approx(expected, rel=tolerance) else [f"{path}: {expected} and {found}"]
    return [] if expected == found else [f"{path}: {expected!r} and {found!r}"]


def test_optimizers_that_compare_losses_call_their_closure_as_often_as_in_one_process(played: dict[str, Any]) -> None:
    for name in ("lbfgs_with_a_line_search", "lbfgs_with_shares_that_differ", "lbfgs_in_an_overridden_run_batch"):
        expected, *found = (played[who][name] for who in ("alone", "0", "1"))
        for rank in found:
            assert rank["optimizer"][0]["func_evals"] == expected["optimizer"][0]["func_evals"] > 4
            assert differences(expected["weights"], rank["weights"], 1e-5) == []
    assert len(set(played["alone"]["a_line_search_of_ones_own"]["outputs"])) > 1
