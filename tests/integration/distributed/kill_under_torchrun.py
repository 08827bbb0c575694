"""Kills of processes that torchrun restarts, at random moments of a training.

``python -m tests.integration.distributed.kill_under_torchrun [how many]`` starts as many trainings of two processes
with ``--max-restarts=3``, ends up to three of their processes, by turns with SIGKILL and SIGTERM, and prints how the
trainings ended. Each must end with all of its epochs, in at most four attempts, and leave no process.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

SCRIPT = Path(__file__).with_name("elastic_script.py")
SECONDS = 240.0
EPOCHS = 40


def start(folder: Path, *arguments: str, torchrun: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
    """Start torchrun with `elastic_script`, its arguments and variables; a file in the folder gets the output."""
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, str(SCRIPT), str(folder), *arguments]
    number = len(list(folder.glob("output*.txt")))
    with open(folder / f"output{number}.txt", "w", encoding="utf-8") as output:
        return subprocess.Popen(
            command,
            env={"OMP_NUM_THREADS": "1", **os.environ, **variables},
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )


def workers(agent: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that an agent has started for its ranks."""
    try:
        return [child for child in psutil.Process(agent.pid).children() if str(SCRIPT) in child.cmdline()]
    except psutil.Error:
        return []


def _wait_for_attempt(agent: subprocess.Popen[str], past: set[int]) -> None:
    """Wait for processes that are not of a past attempt, or for the end of the training."""
    while agent.poll() is None and not any(process.pid not in past for process in workers(agent)):
        time.sleep(0.05)


def results(folder: Path) -> dict[str, Any]:
    """Return what each rank of the last attempt has written."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("rank*.json")}


def end(agent: subprocess.Popen[str], folder: Path) -> tuple[int | None, int]:
    """Wait for an agent; return its exit code, None if it does not end, and how many of its processes are left."""
    code: int | None
    try:
        code = agent.wait(SECONDS)
    except subprocess.TimeoutExpired:
        code = None
        agent.kill()
        agent.wait()
    _, left = psutil.wait_procs([process for process in psutil.process_iter() if _is_of(folder, process)], timeout=5)
    for process in left:
        process.kill()
    return code, len(left)


def _is_of(folder: Path, process: psutil.Process) -> bool:
    try:
        return str(folder) in process.cmdline()
    except psutil.Error:
        return False


def train_with_kills(moments: Sequence[float], number: signal.Signals) -> tuple[str, int, float]:
    """Train once, and end a process at each moment, in seconds after the start of an attempt.

    Returns
    -------
    tuple of (str, int, float)
        How the training ended, how many processes were ended in it, and how many seconds it took.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.monotonic()
        agent = start(
            folder, "--epochs", str(EPOCHS), "--pause", "0.01", torchrun=["--nproc-per-node=2", "--max-restarts=3"]
        )
        past: set[int] = set()
        kills = 0
        for moment in moments:  # counted from the start of the next attempt
            _wait_for_attempt(agent, past)
            time.sleep(moment)
            found = workers(agent)
            past |= {process.pid for process in found}
            if found:
                random.choice(found).send_signal(number)
                kills += 1
        code, left = end(agent, folder)
        took = time.monotonic() - begin
        finished = {rank: result["epochs"] for rank, result in results(folder).items()}
        if code is None:
            ended = "did not end"
        elif code:
            ended = f"exit code {code}"
        elif finished != {"rank0": EPOCHS, "rank1": EPOCHS}:
            ended = f"other epochs: {finished}"
        else:
            ended = "completed"
        if ended != "completed":
            print((folder / "output0.txt").read_text(encoding="utf-8")[-6000:], flush=True)
        return ended if not left or code is None else f"{ended}, {left} processes left", kills, took


def duration() -> float:
    """Return how many seconds a training takes that nobody disturbs."""
    return train_with_kills([], signal.SIGKILL)[2]


def main(number: int) -> dict[str, int]:
    """Disturb as many trainings, and return how many ended in which way."""
    whole, ends, n_kills, done = duration(), {}, 0, 0
    while done < number:
        moments = [random.uniform(0, 0.8 * whole) for _ in range(random.randint(1, 3))]
        signal_number = (signal.SIGKILL, signal.SIGTERM)[done % 2]
        ended, kills, took = train_with_kills(moments, signal_number)
        if not kills and ended == "completed":  # it ended before the first moment
            continue
        done, n_kills, ends[ended] = done + 1, n_kills + kills, ends.get(ended, 0) + 1
        print(f"{done}: {kills} times {signal_number.name}: {ended} after {took:.1f} s", flush=True)
    print(f"trainings: {number}; kills: {n_kills}; " + "; ".join(f"{key}: {n}" for key, n in sorted(ends.items())))
    return ends


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
