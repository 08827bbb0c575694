"""Models that are sharded by ``configure_model`` do on two processes what a whole model does on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from .sharded import CASES

pytestmark = pytest.mark.timeout(600)  # a fixture runs many processes

MODULE = "tests.integration.distributed.sharded"
ROOT = Path(__file__).parents[3]
BF16 = 2e-2  # other batch sizes round differently


def play(folder: Path, *arguments: str, size: int = 1) -> list[dict[str, Any]]:
    """Run the script on some processes, and return the results of each rank."""
    folder.mkdir()
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(size)] if size > 1 else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *torchrun, "-m", MODULE, str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(size)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    return play(folder / "alone")[0]


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return play(folder / "two", size=2)


def differences(expected: Any, found: Any, tolerance: float, path: str = "") -> Iterator[str]:
    if isinstance(expected, Mapping):
        assert set(expected) == set(found), path
        for key, value in expected.items():
            yield from differences(value, found[key], tolerance, f"{path}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(expected) == len(found), path
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, tolerance, f"{path}[{index}]")
    else:
        one, other = torch.as_tensor(expected), torch.as_tensor(found)
        if one.shape != other.shape or not torch.allclose(one, other, rtol=tolerance, atol=tolerance):
            yield f"{path}: {expected} and {found}"


@pytest.mark.parametrize("name", CASES)
def test_two_processes_with_a_part_each_do_what_one_with_the_whole_does(alone, ranks, name):
    assert "error" not in alone[name], alone[name]["error"]
    assert "history" not in alone[name] or len(alone[name]["losses"][0]) == 20
    for rank, results in enumerate(ranks):
        assert "error" not in results[name], results[name]["error"]
        expected, found = dict(alone[name]), dict(results[name])
        if rank and "saved" in expected:
            del expected["saved"]
            assert found.pop("saved") is None  # only rank 0 writes
        assert list(differences(expected, found, BF16 if name.startswith("bf16") else 1e-5)) == []


def test_clipping_changes_the_training(alone):
    assert list(differences(alone["clipped_by_lightning"], alone["clipped_by_gradient_clip"], 1e-5)) == []
    assert alone["clipped_by_gradient_clip"]["losses"][0][-1] > 1.5 * alone["adam"]["losses"][0][-1]


def test_the_files_hold_whole_tensors_that_one_device_loads(ranks, folder):
    for file in (folder / "two" / "weights_and_best_weights" / "model.pt", *(folder / "two").rglob("alone.pt")):
        state = torch.load(file, weights_only=True)
        assert {type(value) for value in state.values()} == {torch.Tensor}
        assert state["0.weight"].shape == (9, 6)


@pytest.fixture(scope="module")
def continued(alone, folder) -> dict[str, Any]:
    """Return what one process makes of its own state in two more epochs."""
    return play(folder / "continued", str(folder / "alone" / "state_saved_and_loaded" / "final"))[0]["continued"]


@pytest.mark.parametrize("size", [1, 4])
def test_a_state_of_two_processes_is_continued_by_one_and_by_four(alone, continued, ranks, folder, size):
    state = folder / "two" / "state_saved_and_loaded" / "final"
    assert "error" not in continued, continued["error"]
    assert len(continued["losses"][0]) == 30
    for results in play(folder / f"by {size}", str(state), size=size):
        found = results["continued"]
        assert "error" not in found, found["error"]
        assert list(differences(continued, found, 1e-5)) == []
        for name in [name for name in CASES if name.startswith("tensor")]:  # with four processes, in both dimensions
            assert "error" not in results[name], results[name]["error"]
            assert list(differences(alone[name], results[name], 1e-5)) == []


def test_the_script_of_the_page_runs_and_its_file_is_one_of_a_whole_model(tmp_path):
    page = (ROOT / "docs" / "howto" / "sharded.md").read_text()
    [script] = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Epoch 5/5" in done.stderr
    assert torch.load(tmp_path / "model.pt", weights_only=True)["0.weight"].shape == (64, 10)
