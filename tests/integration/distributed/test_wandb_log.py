"""wandb.log of the user's own in steps of several processes: rank 0's values reach the trainer's run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.conftest import Classifier
from tests.wandb_file import read_wandb_run
from zae_engine.trainer.addons import MultiGPUAddon, WandBLoggerAddon


class LogsByHand(Classifier.add_on(MultiGPUAddon, WandBLoggerAddon)):
    def train_step(self, batch: Any) -> Any:
        wandb.log({"rank": self.primary_device_index, "count": len(self.loss_history_train)})
        if wandb.run is not None:
            wandb.summary["batches"] = len(self.loss_history_train) + 1
        return super().train_step(batch)


def read(folder: Path) -> tuple[list[Any], dict[str, Any]]:
    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    history, _ = read_wandb_run(file)
    return [row["rank"] for row in history if "rank" in row], history[-1]


def test_in_spawned_processes(make: Any, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = {"wandb": {"mode": "offline", "project": "p", "dir": str(tmp_path)}}
    trainer = make(LogsByHand, device=["cpu", "cpu"], web_logger=settings)
    run = trainer.web_logger["wandb"]
    trainer.run(1, loader)
    assert wandb.run is run
    assert run.summary["batches"] == len(trainer.get_loss_history())
    run.finish()
    ranks, _ = read(tmp_path)
    assert ranks == [0] * len(trainer.get_loss_history())


FORKED = """
import torch
from tests.integration.distributed.test_wandb_log import LogsByHand
model = torch.nn.Linear(10, 2)
trainer = LogsByHand(model, ["cpu", "cpu"], optimizer=torch.optim.SGD(model.parameters(), lr=.1), log_bar=False,
    web_logger={"wandb": {"mode": "offline", "project": "p"}})
trainer.run(1, [(torch.randn(4, 10), torch.zeros(4).long()) for _ in range(4)])
print(len(trainer.get_loss_history()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_in_forked_processes_as_those_of_a_notebook(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    ranks, _ = read(tmp_path)
    assert ranks == [0] * int(done.stdout.split()[-1])
    assert ranks
