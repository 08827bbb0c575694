"""The first command of the README and of the site trains to what they promise."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import torch

from tests.wandb_file import read_wandb_run
from zae_engine.trainer.addons import NeptuneLoggerAddon, WandBLoggerAddon, read_offline_run

SCRIPT = Path(__file__).parents[3] / "examples" / "digits.py"


def test_digits_reaches_97_percent():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    accuracy = float(re.search(r"Test accuracy: ([\d.]+)%", done.stdout)[1])
    assert accuracy >= 97
    assert "Confusion matrix" in done.stdout
    assert "Warning" not in done.stderr, done.stderr


def test_web_loggers_have_every_step_of_the_digits_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    digits = runpy.run_path(str(SCRIPT))
    torch.manual_seed(0)
    train, valid, _ = digits["build_loaders"](64)
    model = digits["build_model"]()
    trainer = digits["DigitTrainer"].add_on(WandBLoggerAddon, NeptuneLoggerAddon)(
        model,
        "cpu",
        "train",
        torch.optim.Adam(model.parameters()),
        log_bar=False,
        web_logger={
            "wandb": {"project": "digits", "mode": "offline", "dir": str(tmp_path)},
            "neptune": {"project_name": "w/digits", "mode": "offline"},
        },
    )
    trainer.run(2, train, valid)
    losses = [float(loss) for loss in trainer.get_loss_history()]
    accuracy = trainer.test_metrics["accuracy"]
    del trainer
    history, _ = read_wandb_run(next((tmp_path / "wandb").glob("offline-run-*/*.wandb")))
    assert [row["loss"] for row in history if "loss" in row] == losses
    assert [row["test_accuracy"] for row in history if "test_accuracy" in row][-1] == accuracy
    run = read_offline_run(".neptune")
    assert [point.value for point in run["loss"]] == losses
    assert run["test_accuracy"][-1].value == accuracy
