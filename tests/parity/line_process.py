"""Line process: a program that answers each line of its standard input by a line, run for one of the packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGES = ("upstream", "ours")


class LineProcess:
    """A running program, ``SCRIPT upstream|ours``."""

    def __init__(self, script: Path, package: str) -> None:
        command = [sys.executable, str(script), package]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Wait for a line, and return it; an empty one if the program has ended."""
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the input, and wait for the end of the program."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
