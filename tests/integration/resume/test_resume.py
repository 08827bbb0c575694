"""Two epochs and a bit, a crash, and two epochs more in a new process: as four epochs at once, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .resume_scenarios import NAMES

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder, results = str(tmp_path_factory.mktemp("resume")), {}
    for part in ("whole", "broken", "resumed"):
        command = [sys.executable, "-m", "tests.integration.resume.resume_scenarios", part, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results[part] = {line["name"]: line for line in lines}
    return results


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_going_on_in_a_new_process_equals_never_having_stopped(told, name):
    whole, broken, resumed = (told[part][name] for part in ("whole", "broken", "resumed"))
    assert len(broken["records"]) == 2
    assert len(whole["records"]) == 4
    assert resumed == whole
