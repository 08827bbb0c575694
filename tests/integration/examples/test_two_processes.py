"""The documented example of several devices: as a script, under torchrun, and under SLURM's srun."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[3] / "examples"
SCRIPT = str(EXAMPLES / "two_processes.py")


def check(output: str, folder: Path) -> None:
    """1,257 samples in batches of 16 are 79 batches, 40 steps for two processes; 8 epochs of these."""
    assert "Losses kept: 320" in output
    assert "Steps of the optimizer: 320" in output
    assert "Next epoch: 9" in output
    assert output.count("Test accuracy") == 1
    assert float(re.search(r"Test accuracy: ([\d.]+)%", output)[1]) >= 97
    saved = torch.load(folder / "two_processes.pt")
    assert all(value.isfinite().all() for value in saved.values())
    assert saved["0.weight"].std() > 0


@pytest.mark.parametrize("launcher", [[], ["-m", "torch.distributed.run", "--nproc-per-node", "2"]])
def test_one_script_runs_alone_and_under_torchrun(tmp_path: Path, launcher: list[str]):
    command = [sys.executable, *launcher, SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    check(done.stdout, tmp_path)
    assert "Warning" not in done.stderr, done.stderr
    assert done.stderr.count("Epoch 8/8") == 1


def test_the_same_script_runs_as_tasks_of_slurm(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NAME": "train",
        "MASTER_PORT": str(port),
    }
    tasks = [
        subprocess.Popen(
            [sys.executable, SCRIPT],
            cwd=tmp_path,
            env={**os.environ, **job, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    outputs = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    check("".join(output for output, _ in outputs), tmp_path)
