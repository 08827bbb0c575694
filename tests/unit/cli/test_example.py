"""The script is written where it is asked for, replaces nothing by itself, and runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from zae_engine.cli.__main__ import main

pytestmark = pytest.mark.timeout(300)  # the scripts train


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(script, folder, **variables):
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def accuracy(output):
    return float(re.search(r"test accuracy ([\d.]+)%", output).group(1))


def test_the_script_runs_and_learns_the_digits(folder, capsys):
    assert main(["example"]) == 0
    assert capsys.readouterr().out == "Wrote zae_example.py; run it with `python zae_example.py`.\n"
    output = run("zae_example.py", folder)
    assert accuracy(output) > 85
    assert "Predicted [" in output
    assert len(torch.load(folder / "zae_example_model.pt")) == 4
    assert (folder / "zae_example_state" / "model.ckpt").exists()


def test_the_script_runs_without_scikit_learn(folder):
    assert main(["example"]) == 0
    (folder / "sklearn").mkdir()
    (folder / "sklearn" / "__init__.py").write_text("raise ModuleNotFoundError('no scikit-learn')")
    assert accuracy(run("zae_example.py", folder)) > 30  # a tenth by chance


def test_the_script_for_several_devices_runs(folder):
    assert main(["example", "--mpu", "--path", "several.py"]) == 0
    assert accuracy(run("several.py", folder)) > 85
    assert (folder / "zae_example_model.pt").exists()


def test_a_folder_as_path_puts_the_file_into_it(folder, capsys):
    (folder / "my scripts").mkdir()
    assert main(["example", "--path", "my scripts"]) == 0
    assert (folder / "my scripts" / "zae_example.py").exists()
    assert "`python 'my scripts/zae_example.py'`" in capsys.readouterr().out


def test_an_existing_file_is_replaced_with_force_only(folder, capsys):
    (folder / "mine.py").write_text("mine")
    assert main(["example", "--path", "mine.py"]) == 1
    assert capsys.readouterr().err == (
        "mine.py exists and is left as it is: give another --path, or --force to replace it.\n"
    )
    assert (folder / "mine.py").read_text() == "mine"
    assert main(["example", "--path", "mine.py", "--force"]) == 0
    assert "class Classifier(Trainer)" in (folder / "mine.py").read_text()


def test_a_path_that_cannot_be_written_is_named(folder, capsys):
    assert main(["example", "--path", "absent/mine.py"]) == 1
    assert capsys.readouterr().err == "The folder absent does not exist: create it, or give another --path.\n"
    (folder / "file").write_text("")
    assert main(["example", "--path", "file/mine.py"]) == 1
    assert "file/mine.py cannot be written (Not a directory)" in capsys.readouterr().err
