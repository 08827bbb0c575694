"""Measure everything and print a report: ``nox -s bench`` or ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform


def processor() -> str:
    """Name the machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure and print the tables that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="what to measure")
    parser.add_argument("--steps", type=int, nargs="+", default=[500, 2000], help="steps per epoch, tiny model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="of the situations: cpu, or cuda")
    arguments = parser.parse_args()

    import lightning
    import torch

    print(
        f"{processor()}, {os.cpu_count()} cores, one thread a process; Python {platform.python_version()}, "
        f"torch {torch.__version__}, lightning {lightning.__version__}; medians of {arguments.rounds} rounds.",
        flush=True,
    )
    for name in arguments.only:
        title, part = PARTS[name]
        print(f"\n**{title}**\n", *part(arguments), sep="\n", flush=True)


def _tiny(arguments: argparse.Namespace) -> list[str]:
    from . import competitors, steps

    bases = {
        "raw loop": competitors.RAW,
        "Lightning": competitors.PLAIN,
        "log_dict": competitors.LOGGING,
        "0.7.6": competitors.UPSTREAM,
    }
    results = steps.measure("tiny", arguments.steps, arguments.rounds, list(competitors.PEERS))
    return steps.table(results, bases)


def _long(arguments: argparse.Namespace) -> list[str]:
    from . import competitors, steps

    lengths = [500, 20_000]
    names = [competitors.RAW, competitors.PLAIN, competitors.OURS]
    results = steps.measure("tiny", lengths, arguments.rounds, names)
    lines = ["| | µs at 500 steps | µs at 20000 steps | ratio |", "|---|---|---|---|"]
    for name in names:
        short, long = ([*sorted(results[length][name])][arguments.rounds // 2] for length in lengths)
        lines.append(f"| {name} | {short:.0f} | {long:.0f} | {long / short:.2f} |")
    return lines


def _real(arguments: argparse.Namespace) -> list[str]:
    from . import competitors, steps

    names = [name for name in competitors.PEERS if name != competitors.UPSTREAM and "CSV" not in name]
    results = steps.measure(
        "real", [12], 4 * arguments.rounds, names
    )  # in turn soon: what is sought is one in a hundred
    return steps.table(results, {"raw loop": competitors.RAW})


def _situations(arguments: argparse.Namespace) -> list[str]:
    from . import situations

    return situations.table(arguments.rounds, arguments.device)


def _ddp(arguments: argparse.Namespace) -> list[str]:
    from . import ddp

    return ddp.table(2000, arguments.rounds)


def _memory(arguments: argparse.Namespace) -> list[str]:
    from . import memory

    return memory.table(50_000)


def _startup(arguments: argparse.Namespace) -> list[str]:
    from . import startup

    return startup.table(arguments.rounds)


def _saving(arguments: argparse.Namespace) -> list[str]:
    from . import saving

    return saving.table(arguments.rounds)


def _sharded(arguments: argparse.Namespace) -> list[str]:
    from . import sharded

    return sharded.table()


def _data(arguments: argparse.Namespace) -> list[str]:
    from . import data

    return data.table()


PARTS = {
    "tiny": ("A step of a tiny model: linear(10, 2), batches of 8", _tiny),
    "long": ("A step in a short and in a long epoch, the same model", _long),
    "real": ("A step of a real model: ResNet-8, batches of 64 images of 8x8", _real),
    "situations": ("Beside the raw loop", _situations),
    "ddp": ("Two processes, tiny model", _ddp),
    "memory": ("Memory, tiny model, one epoch", _memory),
    "saving": ("What a save makes training wait", _saving),
    "sharded": ("Memory of a sharded model, a process", _sharded),
    "data": ("Memory of a data set on two processes", _data),
    "startup": ("Start-up", _startup),
}

if __name__ == "__main__":
    main()
