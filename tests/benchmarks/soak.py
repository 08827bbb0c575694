"""A long run with all add-ons on: ``python -m tests.benchmarks.soak [--epochs 200] [--steps 1000] [--report FOLDER]``.

Prints the time of a step and the memory of the process over the run, and what became of the files; with ``--report``
writes them to ``soak.md`` and ``soak.png`` in a folder.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import psutil
import torch

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import (
    MultiGPUAddon,
    NeptuneLoggerAddon,
    PrecisionMixerAddon,
    StateManagerAddon,
    WandBLoggerAddon,
)

ADDONS = (StateManagerAddon, WandBLoggerAddon, NeptuneLoggerAddon, PrecisionMixerAddon, MultiGPUAddon)


class Soaking(Trainer.add_on(*ADDONS)):
    """Notes time and memory at the end of every epoch; its test loss falls, so that every epoch is saved."""

    def train_step(self, batch):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.model(x), y)
        return {"loss": loss, "acc": (self.model(x).argmax(1) == y).float().mean(), "output": x}

    def test_step(self, batch):
        step_dict = self.train_step(batch)
        return {**step_dict, "loss": torch.tensor(1.0 / self.progress_checker.get_epoch())}

    def check_better(self, cur_epoch, cur_loss):
        better = super().check_better(cur_epoch, cur_loss)
        gc.collect()
        process = psutil.Process()
        now = time.perf_counter()
        sizes = {path.name: path.stat().st_size for path in Path(self.save_path).iterdir()}
        self.notes.append((now, process.memory_info().rss / 1e6, process.num_fds(), process.num_threads(), sizes))
        return better


def soak(epochs: int, steps: int, folder: str) -> tuple[float, list]:
    """Run, and return when it began and what was noted after every epoch."""
    os.chdir(folder)
    os.environ["WANDB_SILENT"] = "true"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    chain = SchedulerChain(WarmUpScheduler(optimizer, 10), CosineAnnealingScheduler(optimizer, epochs))
    data = [(torch.randn(8, 10), torch.randint(0, 2, (8,))) for _ in range(steps)]
    trainer = Soaking(
        model,
        "cpu",
        optimizer=optimizer,
        scheduler=chain,
        save_path="saved",
        precision="fp32",
        web_logger={
            "wandb": {"project": "soak", "mode": "offline"},
            "neptune": {"project_name": "me/soak", "api_tkn": "", "mode": "offline"},
        },
    )
    trainer.notes = []
    begin = time.perf_counter()
    trainer.run(epochs, data, data[:100])
    trainer.web_logger["neptune"].stop()  # before its folder is gone
    return begin, trainer.notes


def report(epochs: int, steps: int, begin: float, notes: list) -> str:
    """Return the numbers as Markdown."""
    times = [now for now, *_ in notes]
    micros = [(b - a) / (steps + 100) * 1e6 for a, b in zip([begin, *times], times, strict=False)]
    every = max(1, epochs // 10)
    lines = [
        f"{epochs * steps:,} training steps in {epochs} epochs (each with 100 test steps and a save of all files),",
        f"all add-ons on, {platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}.",
        "",
        "| epochs | µs per step (median) | memory, MB | open files | threads | trainer.zae, kB | other files, kB |",
        "|---|---|---|---|---|---|---|",
    ]
    for first in range(0, epochs, every):
        last = min(first + every, epochs)
        _, memory, files, threads, sizes = notes[last - 1]
        rest = sizes.get("trainer.zae", 0)
        lines.append(
            f"| {first + 1}-{last} | {statistics.median(micros[first:last]):.0f} | {memory:.0f} | {files} | {threads} "
            f"| {rest / 1e3:.0f} | {(sum(sizes.values()) - rest) / 1e3:.1f} |"
        )
    half = epochs // 2
    ratio = statistics.median(micros[half:]) / statistics.median(micros[every:half])
    grown = notes[-1][1] - notes[every - 1][1]
    records = (notes[-1][4].get("trainer.zae", 0) - notes[every - 1][4].get("trainer.zae", 0)) / 1e6
    lines += [
        "",
        f"Second half against the first: {ratio:.2f} of the time for a step. Memory since epoch {every}: "
        f"{grown:+.1f} MB; the records, with the loss of each step, have grown by {records:.1f} MB in trainer.zae.",
    ]
    return "\n".join(lines)


def draw(steps: int, begin: float, notes: list, filename: Path) -> None:
    """Draw time and memory over the epochs."""
    import matplotlib.pyplot as plt

    times = [now for now, *_ in notes]
    micros = [(b - a) / (steps + 100) * 1e6 for a, b in zip([begin, *times], times, strict=False)]
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(8, 5), constrained_layout=True)
    above.plot(range(1, len(micros) + 1), micros)
    above.set(
        ylabel="time of a step, µs", ylim=(0, None), title=f"{len(notes)} epochs of {steps} steps, all add-ons on"
    )
    memory = [memory for _, memory, *_ in notes]
    below.plot(range(1, len(memory) + 1), memory)
    below.set(ylabel="memory of the process, MB", xlabel="epoch", ylim=(0, 1.25 * max(memory)))
    figure.savefig(filename, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    place = arguments.report.resolve() if arguments.report else None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin, notes = soak(arguments.epochs, arguments.steps, folder)
        os.chdir("/")
    text = report(arguments.epochs, arguments.steps, begin, notes)
    print(text)
    if place is not None:
        draw(arguments.steps, begin, notes, place / "soak.png")
        head = "# A long run\n\nWritten by `python -m tests.benchmarks.soak --report tests/benchmarks`.\n\n"
        (place / "soak.md").write_text(f"{head}{text}\n\n![time and memory](soak.png)\n")


if __name__ == "__main__":
    main()
