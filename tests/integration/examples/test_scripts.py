"""The scripts run, and learn something."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"


def output_of(script, *arguments, cwd=None):
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=cwd).stdout


def number(pattern, text):
    return float(re.search(pattern, text).group(1))


def test_segmentation_finds_the_digits():
    assert number(r"union ([\d.]+) on 300 images", output_of("segmentation.py", "--epochs", "4")) > 0.6


def test_diffusion_learns_the_noise_and_draws():
    text = output_of("diffusion.py", "--epochs", "10")
    assert number(r"test loss ([\d.]+) in epoch", text) < 0.6  # 1.0 for a network that knows nothing
    assert len(text.splitlines()) == 9


def test_the_gan_trains_both_networks_and_draws():
    text = output_of("gan.py", "--epochs", "5")
    assert 0.3 < number(r"generator loss ([\d.]+)", text) < 5
    assert len(text.splitlines()) == 9


def test_a_table_is_learned_and_the_labels_of_new_rows_are_predicted(tmp_path):
    output = output_of("table.py", cwd=tmp_path)
    assert number(r"'acc': ([\d.]+)", output) > 0.9
    assert "new rows: [0, 0, 0, 0, 0]" in output  # the data set's labels of its first rows
    assert re.search(r"^lr 0.001 +\d+", output, re.MULTILINE)
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
