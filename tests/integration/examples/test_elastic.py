"""The documented example of restarts: under torchrun, a second start continues what the first one has saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = str(Path(__file__).parents[3] / "examples" / "elastic.py")


def test_the_script_goes_on_from_its_latest_state(tmp_path: Path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3"]
    for epochs in (1, 3):
        command = [*torchrun, SCRIPT, "--epochs", str(epochs)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "Attempts: 1" in done.stdout
        assert f"Epochs: {epochs}" in done.stdout
    assert "Epoch 1/" not in done.stderr
    assert done.stderr.count("Epoch 2/3") == 1
