"""Many runs in several threads of one process: each as it is alone, and no trace of them afterwards.

``python -m tests.integration.threads.many_runs 3000`` makes 3,000 runs in 8 threads and prints what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from tests.conftest import Classifier
from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler

THREADS = 8


class Stream:
    """Has no length."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        yield from self.batches


class OwnBatches(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Failing(Classifier):
    def train_step(self, batch):
        raise ZeroDivisionError("the user's own")


def run(number: int) -> str:
    """Make one of eight kinds of runs, and return its results: the losses and the weights."""
    generator = torch.Generator().manual_seed(number)
    model = torch.nn.Linear(4, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    batches = [(torch.randn(4, 4, generator=generator), torch.zeros(4, dtype=torch.long))]
    kind = number % 8
    cls = {1: OwnBatches, 2: Failing}.get(kind, Classifier)
    loader: Any = Stream(batches) if kind in (3, 4) else batches
    if kind == 5:
        loader = DataLoader(torch.utils.data.TensorDataset(*batches[0]), 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = None
    if kind == 6:
        scheduler = SchedulerChain(WarmUpScheduler(optimizer, 1), CosineAnnealingScheduler(optimizer, 2))
    trainer = cls(model, "cpu", optimizer=optimizer, scheduler=scheduler, log_bar=False)
    with contextlib.suppress(ZeroDivisionError):
        trainer.run(1, loader, batches if kind in (4, 7) else None)
    losses = [float(loss) for loss in trainer.get_loss_history()]
    if len(losses) != (kind != 2):
        raise AssertionError(f"{len(losses)} steps in a run of kind {kind}")
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in trainer.history]
    return repr((losses, rows, model.weight.tolist()))


def patched(cls: type) -> list[str]:
    """Return the methods of a class that Lightning has replaced."""
    return [name for name, value in vars(cls).items() if "__old" in name or hasattr(value, "__wrapped__")]


def many_runs(count: int) -> list[str]:
    """Make runs in threads, and return what is wrong."""
    torch.set_num_threads(1)
    results: dict[int, str] = {}
    wrong: list[str] = []
    lock = threading.Lock()
    numbers = iter(range(count))

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                result = run(number % 64)
            except BaseException as error:
                wrong.append(f"run {number}: {type(error).__name__}: {error}")
            else:
                if result != results.setdefault(number % 64, result):
                    wrong.append(f"run {number}: {result}, {results[number % 64]} before")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]  # the first import of Lightning is in these
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for number, result in results.items():
        if result != (alone := run(number)):
            wrong.append(f"run {number}: {result} in threads, {alone} alone")
    wrong += [f"{cls.__name__}.{name} is replaced" for cls in (DataLoader, BatchSampler) for name in patched(cls)]
    return wrong


def main(count: int) -> None:
    """Make the runs in this process, whose first run they are."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    filters = list(warnings.filters)
    wrong = many_runs(count)
    if lost := [entry for entry in filters if entry not in warnings.filters]:  # imported packages add some
        wrong.append(f"filters of warnings are lost: {lost}")
    if not warnings.filters or sum(entry[1] is not None for entry in warnings.filters) > 30:
        wrong.append(f"filters of warnings are left: {warnings.filters}")
    if not torch.is_grad_enabled() or sys.stderr.name != os.devnull:
        wrong.append("the grad mode or sys.stderr has changed")
    print(*wrong[:10], f"{count} runs, {len(wrong)} wrong", sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(int(sys.argv[1]))
