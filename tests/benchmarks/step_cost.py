"""Measure what a step costs, all peers in one run: ``nox -s bench`` or ``python -m tests.benchmarks.step_cost``.

Two processes, one with this package and one with zae-engine 0.7.6, measure in turn, never at the same time. Every round
measures every peer once, in an order that alternates; the table gives medians over the rounds.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import platform
import statistics
import warnings
from multiprocessing.connection import Connection
from typing import Any

from tests.parity import oracle

WARM_UP_STEPS = 50


def host(connection: Connection, which: str) -> None:
    """Measure what is asked for, in a process of its own."""
    if which == "upstream":
        oracle.install(oracle.fetch())
    import lightning.pytorch  # noqa: F401  # sets the level of its logger
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    from tests.benchmarks import peers

    while (request := connection.recv()) is not None:
        name, steps = request
        connection.send(peers.PEERS[name](steps))


def processor() -> str:
    """Name the machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measure(lengths: list[int], rounds: int) -> dict[int, dict[str, list[float]]]:
    """Return the microseconds per step of every round, by epoch length and peer."""
    from tests.benchmarks.peers import PEERS, UPSTREAM

    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Any] = {}
    processes = []
    for which in ("ours", "upstream"):
        pipes[which], end = context.Pipe()
        processes.append(context.Process(target=host, args=(end, which), daemon=True))
        processes[-1].start()

    def ask(name: str, steps: int) -> float:
        pipe = pipes["upstream" if name == UPSTREAM else "ours"]
        pipe.send((name, steps))
        return pipe.recv() / steps * 1e6

    names = list(PEERS)
    for name in names:
        ask(name, WARM_UP_STEPS)
    results: dict[int, dict[str, list[float]]] = {length: {name: [] for name in names} for length in lengths}
    for i in range(rounds):
        for length in lengths:
            for name in names if i % 2 == 0 else reversed(names):
                results[length][name].append(ask(name, length))
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    return results


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[500, 2000], help="steps per epoch")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    results = measure(arguments.steps, arguments.rounds)

    import lightning
    import torch

    print(f"{processor()}, {os.cpu_count()} cores, one thread; Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, lightning {lightning.__version__}; median of {arguments.rounds} rounds.\n")
    base = "LightningModule, no logging"
    head = [f"µs/step at {length}" for length in arguments.steps] + [
        f"ratio to Lightning at {n}" for n in arguments.steps
    ]
    print("| " + " | ".join(["", *head]) + " |")
    print("|" + "---|" * (len(head) + 1))
    for name in results[arguments.steps[0]]:
        medians = [statistics.median(results[length][name]) for length in arguments.steps]
        ratios = [m / statistics.median(results[n][base]) for m, n in zip(medians, arguments.steps, strict=True)]
        cells = [f"{m:.0f}" for m in medians] + [f"{ratio:.2f}" for ratio in ratios]
        print("| " + " | ".join([name, *cells]) + " |")


if __name__ == "__main__":
    main()
