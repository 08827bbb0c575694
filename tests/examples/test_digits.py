"""The README's first command trains to what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_digits_reaches_97_percent():
    script = Path(__file__).parents[2] / "examples" / "digits.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    accuracy = float(re.search(r"Test accuracy: ([\d.]+)%", done.stdout)[1])
    assert accuracy >= 97
    assert "Confusion matrix" in done.stdout
    assert "Warning" not in done.stderr, done.stderr
