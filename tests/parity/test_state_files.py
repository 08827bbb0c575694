"""State files of zae-engine 0.7.6 load here and ours load there, in both formats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.parity.test_parity import differences

SCRIPT = Path(__file__).with_name("state_files.py")


@pytest.mark.parametrize("save_format", ["ckpt", "safetensor"])
@pytest.mark.parametrize(
    ("writer", "reader", "scheduler"),
    [
        ("upstream", "ours", "chain"),
        ("upstream", "ours", "constant"),
        ("ours", "upstream", "constant"),
        ("ours", "ours", "chain"),
    ],
)
def test_what_one_package_saves_the_other_loads(tmp_path, writer, reader, scheduler, save_format):
    folder = tmp_path / scheduler
    for which, action in ((writer, "write"), (reader, "read")):
        command = [sys.executable, str(SCRIPT), which, action, str(folder), save_format]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    written, read = (torch.load(folder / f"{w}-{a}.pt") for w, a in ((writer, "write"), (reader, "read")))
    assert not differences(written, read, "state")
