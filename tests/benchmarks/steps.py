"""What a step costs, all peers in one run.

Two processes, one with this package and one with zae-engine 0.7.6, measure in turn, never at the same time. Every round
measures every peer once, in an order that alternates; the table gives medians over the rounds, and the medians of the
ratios within each round, which a machine that is slow for a while does not change.
"""

from __future__ import annotations

import logging
import multiprocessing
import statistics
import warnings
from multiprocessing.connection import Connection
from typing import Any

from tests.parity import reference

WARM_UP_STEPS = 50
Times = dict[str, list[float]]


def host(connection: Connection, which: str) -> None:
    """Measure what is asked for, in a process of its own."""
    if which == "upstream":
        reference.install(reference.fetch())
    import lightning.pytorch  # noqa: F401  # sets the level of its logger
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    from tests.benchmarks import competitors, problems

    while (request := connection.recv()) is not None:
        name, problem, steps = request
        connection.send(competitors.PEERS[name](problems.PROBLEMS[problem], steps))


def measure(problem: str, lengths: list[int], rounds: int, names: list[str]) -> dict[int, Times]:
    """Return the microseconds per step of every round, by epoch length and peer."""
    from tests.benchmarks.competitors import UPSTREAM

    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Any] = {}
    processes = []
    for which in ("ours", "upstream"):
        pipes[which], end = context.Pipe()
        processes.append(context.Process(target=host, args=(end, which), daemon=True))
        processes[-1].start()

    def ask(name: str, steps: int) -> float:
        pipe = pipes["upstream" if name == UPSTREAM else "ours"]
        pipe.send((name, problem, steps))
        return float(pipe.recv()) / steps * 1e6

    for name in names:
        ask(name, min(WARM_UP_STEPS, *lengths))
    results: dict[int, Times] = {length: {name: [] for name in names} for length in lengths}
    for i in range(rounds):
        for length in lengths:
            for name in names if i % 2 == 0 else reversed(names):
                results[length][name].append(ask(name, length))
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    return results


def ratio(times: Times, name: str, base: str) -> float:
    """Return how many times as long a step of one peer takes as one of another."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))


def table(results: dict[int, Times], bases: dict[str, str]) -> list[str]:
    """Return the lines of a Markdown table: microseconds per step, and ratios to the bases."""
    head = [f"µs at {length} steps" for length in results]
    head += [f"x {title}, {length}" for title in bases for length in results]
    lines = ["| " + " | ".join(["", *head]) + " |", "|---" * (len(head) + 1) + "|"]
    for name in next(iter(results.values())):
        cells = [f"{statistics.median(times[name]):.0f}" for times in results.values()]
        cells += [f"{ratio(times, name, base):.2f}" for base in bases.values() for times in results.values()]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines
