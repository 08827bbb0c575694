"""What a step costs in two processes: ``python -m tests.benchmarks.ddp PEER STEPS``, beside plain Lightning."""

from __future__ import annotations

import logging
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.competitors import SILENT, _lightning_module
from tests.benchmarks.problems import TINY, Clock, loss_and_accuracy
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

NAMES = ("LightningModule, no logging, ddp", "this package, MultiGPUAddon")


class Distributed(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch: Any) -> dict[str, Any]:
        self.clock.tick()
        loss, accuracy = loss_and_accuracy(self.model, batch)
        return {"loss": loss, "acc": accuracy}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def ours(steps: int) -> float:
    model, optimizer, loader = TINY.parts(steps, processes=2)
    trainer = Distributed(model, ["cpu", "cpu"], optimizer=optimizer, log_bar=False)
    trainer.clock = Clock()
    trainer.run(1, loader)
    assert trainer.progress_checker.get_step() == steps + 2  # it counts from 1
    return trainer.clock.seconds


def theirs(steps: int) -> float:
    import lightning.pytorch as L

    model, optimizer, loader = TINY.parts(steps, processes=2)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seconds")

        class Write(L.Callback):
            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                if trainer.is_global_zero:
                    file.write_text(str(clock.seconds))

        trainer = L.Trainer(**SILENT, devices=2, strategy="ddp_fork", callbacks=[Write()])
        trainer.fit(_lightning_module(TINY, model, optimizer, clock, log=False), loader)
        return float(file.read_text())


def measure(steps: int, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds per step of every round."""
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for i in range(rounds):
        for name in NAMES if i % 2 == 0 else reversed(NAMES):
            command = [sys.executable, "-m", "tests.benchmarks.ddp", name, str(steps)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            times[name].append(float(output.stdout.split()[-1]) / steps * 1e6)
    return times


def table(steps: int, rounds: int) -> list[str]:
    """Return the lines of a Markdown table."""
    times = measure(steps, rounds)
    lines = [f"| two processes | µs at {steps} steps | x Lightning |", "|---|---|---|"]
    for name, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times[NAMES[0]], strict=True))
        lines.append(f"| {name} | {statistics.median(taken):.0f} | {ratio:.2f} |")
    return lines


def main() -> None:
    import lightning.pytorch  # noqa: F401  # sets the level of its logger

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print((theirs if sys.argv[1] == NAMES[0] else ours)(int(sys.argv[2])))


if __name__ == "__main__":
    main()
