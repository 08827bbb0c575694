"""Many small runs in a process: memory, threads and file descriptors do not grow."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, threading
import psutil, torch
from torch.utils.data import DataLoader, TensorDataset
from tests.conftest import Classifier

torch.set_num_threads(1)
loader = DataLoader(TensorDataset(torch.ones(8, 10), torch.zeros(8, dtype=torch.long)), 4)
process = psutil.Process()

def run(times):
    for _ in range(times):
        model = torch.nn.Linear(10, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        Classifier(model, "cpu", optimizer=optimizer, log_bar=False).run(1, loader, loader)
    gc.collect()
    return process.memory_info().rss / 1024, threading.active_count(), process.num_fds()

memory, threads, files = run(100)
later_memory, later_threads, later_files = run(400)
print((later_memory - memory) / 400, later_threads - threads, later_files - files)
"""


def test_four_hundred_runs_add_nothing():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kilobytes_a_run, threads, files = map(float, done.stdout.split())
    assert kilobytes_a_run < 3
    assert threads == 0
    assert files == 0
