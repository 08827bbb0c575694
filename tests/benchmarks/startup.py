"""What it takes until the first step: importing, and beginning and ending a run."""

from __future__ import annotations

import statistics
import subprocess
import sys

IMPORTS = {
    "import torch": "import torch",
    "import zae_engine.trainer, and a trainer class": """
import torch
from zae_engine.trainer import Trainer
class Mine(Trainer):
    def train_step(self, batch): pass
    def test_step(self, batch): pass
assert "lightning" not in __import__("sys").modules
""",
    "import lightning": "import torch, lightning.pytorch",
}

RUNS = """
import logging, time, warnings
import torch, lightning.pytorch as L
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
from tests.benchmarks.competitors import SILENT, _lightning_module
from tests.benchmarks.problems import TINY, Clock, loss_and_accuracy
from zae_engine.trainer import Trainer

class Mine(Trainer):
    def train_step(self, batch):
        loss, accuracy = loss_and_accuracy(self.model, batch)
        return {"loss": loss, "acc": accuracy}
    def test_step(self, batch):
        return self.train_step(batch)

model, optimizer, loader = TINY.parts(0)
mine = Mine(model, "cpu", optimizer=optimizer, log_bar=False)
def ours(): mine.run(1, loader)
def theirs(): L.Trainer(**SILENT).fit(_lightning_module(TINY, model, optimizer, Clock(), False), loader)
for function in (ours, theirs):
    function()
times = {ours: [], theirs: []}
for _ in range(20):
    for function, taken in times.items():
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
for taken in times.values():
    print(sorted(taken)[len(taken) // 2])
"""


def _seconds(code: str) -> float:
    timed = f"import time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
    return float(_output(timed))


def _output(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    ).stdout


def table(rounds: int) -> list[str]:
    """Return the lines of a Markdown table."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            times[name].append(_seconds(code))
    lines = ["| | seconds |", "|---|---|"]
    lines += [f"| {name} | {statistics.median(taken):.2f} |" for name, taken in times.items()]
    ours, theirs = map(float, _output(RUNS).split())
    lines.append(f"| `run` of one batch, Lightning loaded | {ours:.4f} |")
    lines.append(f"| `L.Trainer(...).fit` of the same | {theirs:.4f} |")
    return lines
