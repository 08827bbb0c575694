"""Forks: a process that waits for a lock which another thread held is forked again; twice too often is an error."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROGRAM = """
import sys, threading, warnings
sys.ps1 = ">>> "  # as an interactive session, which forks its processes
import torch, zae_engine
from zae_lightning.launchers import forks
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

forks.CONNECT_SECONDS = LIMIT
lock = threading.Lock()

class Locked(torch.nn.Linear):
    def _apply(self, *args, **kwargs):  # each process moves the model to its device
        with lock:
            return super()._apply(*args, **kwargs)

class Fit(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch):
        x, y = batch
        return {"loss": torch.nn.functional.mse_loss(self.model(x), y)}

    test_step = train_step

model = Locked(3, 1)
trainer = Fit(model, ["cpu", "cpu"], optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False)
loader = DataLoader(TensorDataset(torch.randn(16, 3), torch.randn(16, 1)), 4)
lock.acquire()  # as if another thread held it during the fork
"""


def run(seconds, ending):
    program = PROGRAM.replace("LIMIT", str(seconds)) + textwrap.dedent(ending)
    return subprocess.run([sys.executable, "-W", "always", "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_processes_that_stop_are_forked_again():
    done = run(
        8.0,
        """
        def release(message, *args):
            if "forked again" in str(message):
                print(message)
                lock.locked() and lock.release()

        warnings.showwarning = release
        trainer.run(2, loader)
        print(len(trainer.history), len(trainer.history.steps("train")))
        """,
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert last == "2 4"
    assert first.endswith("rank 0, 1 did not connect within 8 s.")
    assert "They had run nothing yet; they are forked again." in done.stdout
    assert done.stdout.count("in _apply") >= 2  # the stacks of both


@pytest.mark.parametrize("init_method", [None, "tcp://127.0.0.1:0"])
def test_the_third_time_is_an_error_with_the_stacks(init_method):
    done = run(
        1.0,
        f"""
        import psutil

        trainer.init_method = {init_method!r}
        try:
            trainer.run(2, loader)
        except RuntimeError as error:
            print(error)
            left = [child.cmdline() for child in psutil.Process().children()]
            print("left:", len([line for line in left if "resource_tracker" not in str(line)]))
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "did not connect within 4 s" in done.stdout
    assert "They were forked 3 times." in done.stdout
    assert done.stdout.splitlines()[-1] == "left: 0"
