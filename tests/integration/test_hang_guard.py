"""Hang guard: a test that holds the interpreter's lock for ever is a failure with stacks, and the others run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import ctypes
import pytest

@pytest.mark.timeout(1)
def test_holds_the_lock():
    lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)  # waits for itself

def test_another():
    pass
"""


def test_a_hang_that_no_signal_ends_is_a_failure_with_stacks(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 60\n")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.hang_guard", "--rootdir", ".", "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(root), "HANG_GUARD_GRACE_SECONDS": "2", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert "crashed while running 'test_it.py::test_holds_the_lock'" in output, output
    assert "1 failed, 1 passed" in output
    assert "in test_holds_the_lock" in output  # the stack
