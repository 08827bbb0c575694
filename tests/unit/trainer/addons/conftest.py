"""No test of an add-on may leave a process behind."""

from __future__ import annotations

import psutil
import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    # Of ours: what multiprocessing has started. Its tracker, and the helpers of wandb and git, end with this process.
    assert [line for child in left if "spawn_main" in (line := " ".join(child.cmdline()))] == []
