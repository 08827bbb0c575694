"""How much memory many steps take, each peer in a process: ``python -m tests.benchmarks.memory PEER STEPS``."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

NAMES = (
    "raw torch loop",
    "LightningModule, no logging",
    "LightningModule, log_dict",
    "this package",
    "this package, logs read afterwards",
)


def peak(name: str, steps: int) -> tuple[float, float]:
    """Return what so many steps add to a process that has run some already, and the peak of the process, in MB."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", name, str(steps)], check=True, capture_output=True, text=True
    )
    added, whole = map(float, result.stdout.split())
    return added, whole


def table(steps: int) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| | added by {steps} steps, MB | peak of the process, MB |", "|---|---|---|"]
    for name in NAMES:
        added, whole = peak(name, steps)
        lines.append(f"| {name} | {added:.1f} | {whole:.0f} |")
    return lines


def main() -> None:
    import lightning.pytorch  # noqa: F401  # in all processes, so that the peaks can be compared
    import psutil
    import torch

    from tests.benchmarks.competitors import PEERS, ours_and_read
    from tests.benchmarks.problems import TINY

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    name, steps = sys.argv[1], int(sys.argv[2])
    train = {**PEERS, "this package, logs read afterwards": ours_and_read}[name]
    train(TINY, 1000)
    process = psutil.Process()
    before = process.memory_info().rss
    train(TINY, steps)
    memory = process.memory_full_info()
    high = max(getattr(memory, "peak_wset", 0), _peak(), memory.rss)
    print((high - before) / 1e6, high / 1e6)


def _peak() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
