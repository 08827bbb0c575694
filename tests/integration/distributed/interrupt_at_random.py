"""Interrupts at random moments of a run in two processes, from its start to its end.

``python -m tests.integration.distributed.interrupt_at_random [how many]`` starts as many programs, interrupts each one
once, by turns the process alone and its whole group as a terminal does, and prints how they ended. Each must end with
`KeyboardInterrupt` within 20 seconds and leave no process.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon

SECONDS = 20.0
INTERRUPTED, COMPLETED = 3, 4
Distributed = Classifier.add_on(MultiGPUAddon)


def run() -> None:
    """Train in two processes; the exit code says whether it was interrupted."""
    torch.manual_seed(0)
    model = torch.nn.Linear(10, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Distributed(model, ["cpu", "cpu"], optimizer=optimizer, log_bar=False)
    data = TensorDataset(torch.randn(64, 10), torch.zeros(64, dtype=torch.long))
    print("ready", flush=True)
    try:
        trainer.run(3, DataLoader(data, 4))
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    os._exit(COMPLETED)


def interrupt_once(delay: float, whole_group: bool) -> tuple[str, float, int]:
    """Start a program, interrupt it, and return how it ended, after how long, and how many processes are left."""
    command = [sys.executable, _script()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    process.stdout.readline()
    time.sleep(delay)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    moment = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    try:
        code = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        ended = "did not end"
    else:
        ended = {INTERRUPTED: "interrupted", COMPLETED: "completed", -signal.SIGINT: "interrupted"}.get(
            code, f"exit code {code}"
        )
    took = time.monotonic() - moment
    _, left = psutil.wait_procs(family, timeout=5)
    for other in left:
        other.kill()
    return ended, took, len(left)


def _script() -> str:
    """Return the path of a script that spawned processes can import."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "interrupted_script.py")


def duration() -> float:
    """Return how long a program runs that nobody interrupts."""
    process = subprocess.Popen([sys.executable, _script()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    start = time.monotonic()
    process.wait()
    return time.monotonic() - start


def main(number: int) -> dict[str, int]:
    """Interrupt as many programs, and return how many ended in which way."""
    whole, ends = duration(), {}
    for i in range(number):
        ended, took, left = interrupt_once(random.uniform(0, whole), whole_group=i % 2 == 0)
        key = ended if not left else f"{ended}, {left} processes left"
        ends[key] = ends.get(key, 0) + 1
        print(f"{i + 1}: {key} after {took:.1f} s", flush=True)
    print(f"programs: {number}; " + "; ".join(f"{key}: {count}" for key, count in sorted(ends.items())))
    return ends


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
