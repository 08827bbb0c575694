"""Forks: a process that waits for a lock which another thread held is forked again; twice too often is an error."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROGRAM = """
import sys, threading, time
sys.ps1 = ">>> "  # as an interactive session, which forks its processes
import torch, zae_engine
from zae_lightning.launchers import forks
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

forks.CONNECT_SECONDS = 3.0
lock, is_held = threading.Lock(), threading.Event()

def hold(seconds):
    with lock:
        is_held.set()
        time.sleep(seconds)

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
threading.Thread(target=hold, args=(HOLD,), daemon=True).start()
is_held.wait()
"""


def run(seconds, ending):
    program = PROGRAM.replace("HOLD", str(seconds)) + textwrap.dedent(ending)
    return subprocess.run([sys.executable, "-W", "always", "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_processes_that_stop_are_forked_again():
    done = run(
        2.0,
        """
        trainer.run(2, loader)
        print(len(trainer.history), len(trainer.history.steps("train")))
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 4"
    assert done.stderr.count("They had run nothing yet; they are forked again.") == 1
    assert "rank 0, 1 did not connect within 3 s" in done.stderr
    assert done.stderr.count("in _apply") >= 2  # the stacks of both


@pytest.mark.parametrize("init_method", [None, "tcp://127.0.0.1:0"])
def test_the_third_time_is_an_error_with_the_stacks(init_method):
    done = run(
        1000.0,
        f"""
        trainer.init_method = {init_method!r}
        forks.CONNECT_SECONDS = 1.0
        import psutil
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
    assert done.stdout.count("in _apply") >= 2
    assert done.stdout.splitlines()[-1] == "left: 0"
