"""The report as a whole, in processes of their own: right, broken, and with all that `--verbose` adds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(300)  # it imports everything
KEY = "0123456789abcdef0123456789abcdef01234567"


def doctor(*arguments, **variables):
    command = [sys.executable, "-m", "zae_engine.cli", "doctor", *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_complete_environment_is_right_and_shows_no_secret():
    variables = {"PL_GLOBAL_SEED": "7", "MASTER_ADDR": "10.0.0.1", "WANDB_API_KEY": KEY, "NEPTUNE_API_TOKEN": KEY}
    status, shown = doctor("--verbose", **variables)
    assert status == 0, shown
    assert shown.endswith("\nEverything that zae-engine needs is right.\n")
    titles = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert titles[1:-1] == [
        "Versions",
        "Machine",
        "Extras",
        "Loggers",
        "Parts of zae-engine 0.7.6",
        "Leftovers of other installations",
        "Paths",
        "Environment variables",
    ]
    assert "PL_GLOBAL_SEED=7" in shown
    assert "MASTER_ADDR=10.0.0.1" in shown
    assert "WANDB_API_KEY=set" in shown
    assert KEY not in shown


def test_broken_packages_are_a_line_each_and_the_status_is_1(tmp_path):
    for name, text in (("lightning", "raise ImportError('no libx.so')"), ("wandb", "raise OSError('damaged')")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "zae_cli").mkdir()
    information = tmp_path / "torchmetrics-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torchmetrics\nVersion: 1.0\n")
    status, shown = doctor(PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "cannot be imported: ImportError: no libx.so\n       -> pip install --force-reinstall" in shown
    assert "cannot be imported: OSError: damaged" in shown
    assert '1.0 is outside the supported versions >=1.7\n       -> pip install "torchmetrics>=1.7"' in shown
    assert "The package zae_cli is left over from zae-engine 0.7.6" in shown
    assert "Environment variables" not in shown
    [last] = shown.splitlines()[-1:]
    assert last == "2 problems, marked [!!]."


def test_a_copy_of_0_7_6_that_is_named_but_not_there_is_a_note(tmp_path):
    status, shown = doctor(ZAE_ENGINE_LEGACY=str(tmp_path))
    assert status == 0
    assert f"[--] ZAE_ENGINE_LEGACY={str(tmp_path)!r} names no folder with a copy of zae-engine 0.7.6." in shown
