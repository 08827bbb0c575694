"""Memory of a data set on two processes: ``python -m tests.benchmarks.data START KIND MEGABYTES ...``.

START is spawn or fork, KIND is tensors, arrays or lines. For each size the script prints the memory, in MB, of the
process and of the two that it starts, after an epoch: the sum of their proportional set sizes (PSS), where a page that
several processes have in common counts once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

ROOT = Path(__file__).parents[2]
STARTS, KINDS = ("spawn", "fork"), ("tensors", "arrays", "lines")
N_ROWS = 20_000


class Rows(Dataset[Any]):
    """Rows of a tensor, of an array, or of a list of tensors; ``megabytes=0`` gives as many, and stores one."""

    def __init__(self, kind: str, megabytes: int) -> None:
        width = (megabytes or 100) * 1_000_000 // (4 * N_ROWS)
        self.rows: Any = torch.zeros(1, width).expand(N_ROWS, width)
        if megabytes and kind == "arrays":
            self.rows = np.random.default_rng(0).random((N_ROWS, width), dtype=np.float32)
        elif megabytes and kind == "lines":
            self.rows = [torch.rand(width) for _ in range(N_ROWS)]
        elif megabytes:
            self.rows = torch.rand(N_ROWS, width)

    def __len__(self) -> int:
        return N_ROWS

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row = torch.as_tensor(self.rows[index])
        return row[:8] + row.mean(), index


class Measuring(Trainer.add_on(MultiGPUAddon)):  # type: ignore[misc]
    """Measures the memory in the last step of the second epoch, when all data have been read."""

    megabytes, n_steps = 0.0, 0

    def train_step(self, batch: Any) -> dict[str, Any]:
        self.n_steps += 1
        if self.n_steps == N_ROWS // 250:
            dist.barrier()
            self.megabytes = sum_of_pss(os.getppid())
            dist.barrier()
        return {"loss": self.model(batch[0]).pow(2).mean()}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def sum_of_pss(pid: int) -> float:
    """Return the proportional set sizes of a process and of those that it has started, in MB."""
    process = psutil.Process(pid)
    return sum(p.memory_full_info().pss for p in [process, *process.children(recursive=True)]) / 1e6


def run(kind: str, megabytes: int) -> float:
    """Train for two epochs, and return the memory of all processes, in MB."""
    rows = Rows(kind, megabytes)
    model = torch.nn.Linear(8, 1)
    trainer = Measuring(model, ["cpu", "cpu"], "train", torch.optim.SGD(model.parameters(), 1e-3), log_bar=False)
    trainer.run(2, DataLoader(rows, 250, shuffle=True))
    return float(trainer.megabytes)


def measure(start: str, kind: str, sizes: list[int]) -> list[float]:
    """Return the memory of all processes with data sets of these sizes, one after another in one program."""
    code = "from tests.benchmarks.data import main; main()"  # without a script, processes are forked
    command = ["-c", code] if start == "fork" else ["-m", "tests.benchmarks.data"]
    done = subprocess.run(
        [sys.executable, *command, start, kind, *map(str, sizes)],
        check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    taken: list[float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def table(megabytes: int = 600) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| data set of {megabytes} MB, two processes | MB without it | MB with it | x data set |"]
    lines.append("|---|---|---|---|")
    names = {"tensors": "one tensor", "arrays": "one NumPy array", "lines": f"a list of {N_ROWS} tensors"}
    for start in STARTS:
        for kind in KINDS:
            without, with_data = measure(start, kind, [0, megabytes])
            ratio = (with_data - without) / megabytes
            lines.append(f"| {names[kind]}, {start} | {without:.0f} | {with_data:.0f} | {ratio:.2f} |")
    return lines


def main() -> None:
    """Train once with each size of the command line, and print the memory."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(json.dumps([run(sys.argv[2], int(size)) for size in sys.argv[3:]]))


if __name__ == "__main__":
    main()
