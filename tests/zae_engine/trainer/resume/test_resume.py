"""Two epochs and a bit, a crash, and two epochs more in a new process: as four epochs at once, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .story import NAMES


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder, stories = str(tmp_path_factory.mktemp("story")), {}
    for part in ("whole", "broken", "resumed"):
        command = [sys.executable, "-m", "tests.zae_engine.trainer.resume.story", part, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        stories[part] = {line["name"]: line for line in lines}
    return stories


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_going_on_in_a_new_process_equals_never_having_stopped(told, name):
    whole, broken, resumed = (told[part][name] for part in ("whole", "broken", "resumed"))
    assert len(broken["records"]) == 2
    assert len(whole["records"]) == 4
    assert resumed == whole
