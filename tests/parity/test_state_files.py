"""State files of zae-engine 0.7.6 load here and ours load there, in both formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.parity.line_process import PACKAGES, LineProcess
from tests.parity.test_parity import differences

SCRIPT = Path(__file__).with_name("state_files.py")


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[tuple[str, str], LineProcess]]:
    """Return a process of each package that writes, and another one that reads."""
    started = {(which, action): LineProcess(SCRIPT, which) for which in PACKAGES for action in ("write", "read")}
    yield started
    for process in started.values():
        process.close()


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
def test_what_one_package_saves_the_other_loads(tmp_path, processes, writer, reader, scheduler, save_format):
    folder = tmp_path / scheduler
    for which, action in ((writer, "write"), (reader, "read")):
        process = processes[which, action]
        process.send(f"{action}\t{folder}\t{save_format}")
        assert process.answer() == "done"
    written, read = (torch.load(folder / f"{w}-{a}.pt") for w, a in ((writer, "write"), (reader, "read")))
    assert not differences(written, read, "state")
