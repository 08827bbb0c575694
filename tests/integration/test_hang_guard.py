"""Hang guard: a test that holds the interpreter's lock for ever is a failure with stacks, and the others run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOCK = """
import ctypes
import pytest

def hang():
    lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)  # waits for itself
"""
IN_A_TEST = """
@pytest.mark.timeout(1)
def test_holds_the_lock():
    hang()

def test_another():
    pass
"""
AT_THE_END = """
def test_another():
    pass

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") and session.config.workerinput["workerid"] == "gw0":
        hang()
"""


def run(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(LOCK + text)
    (folder / "pytest.ini").write_text("[pytest]\ntimeout = 60\n")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.hang_guard", "--rootdir", "."]
    environment = {**os.environ, "PYTHONPATH": str(root), "HANG_GUARD_GRACE_SECONDS": "2", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_hang_that_no_signal_ends_is_a_failure_with_stacks(tmp_path):
    output = run(tmp_path, "test_it.py", IN_A_TEST)
    assert "crashed while running 'test_it.py::test_holds_the_lock'" in output, output
    assert "1 failed, 1 passed" in output
    assert "in hang" in output  # the stack


def test_a_process_that_hangs_after_its_tests_is_ended_with_stacks(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_another():\n    pass\n")
    output = run(tmp_path, "conftest.py", AT_THE_END)
    assert "1 passed" in output, output
    assert "in hang" in output
