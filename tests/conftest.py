"""Shared parts: a small classifier, its data, and a way to build trainers."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.hang_guard import pytest_configure, pytest_runtest_protocol, pytest_sessionfinish  # noqa: F401  # hooks
from zae_engine.trainer import Trainer


class Classifier(Trainer):
    """The smallest trainer that people write."""

    def train_step(self, batch):
        x, y = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean()}

    def test_step(self, batch):
        x, y = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "output": output.argmax(1)}


ALONE = ("tests/integration/distributed", "tests/integration/notebooks", "tests/integration/crash_safety")
"""Tests that start, interrupt or kill processes: two of them at once would take the processors from one another."""


FORKING = ("tests/unit/zae_lightning/launchers/test_monitor.py", "[processes.")
"""Tests that fork the process that runs them. They come first: a fork beside threads of trackers can deadlock."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each file run on one worker of pytest-xdist, so that its fixtures are made once; the largest come first."""
    root = Path(__file__).parents[1]
    groups = {}
    for item in items:
        file = item.path.relative_to(root).as_posix()
        if any(part in item.nodeid for part in FORKING):
            groups[item] = "forks"
        elif file.startswith(ALONE) or "kernel" in file:
            groups[item] = "processes"
        else:
            groups[item] = file
        item.add_marker(pytest.mark.xdist_group(groups[item]))
        if item.get_closest_marker("timeout") is None and _starts_processes(item.path):
            item.add_marker(pytest.mark.timeout(400))  # each imports torch anew, on a busy machine in a minute
    first, sizes = ("forks", "processes"), Counter(groups.values())
    items.sort(key=lambda item: (groups[item] not in first[:1], groups[item] not in first, -sizes[groups[item]]))


_STARTERS = ("subprocess", "multiprocessing", "LineProcess", "MultiGPUAddon", "scenario", "run_script")


@cache
def _starts_processes(file: Path) -> bool:
    text = file.read_text(encoding="utf-8") if file.name.startswith("test_") else ""
    return any(name in text for name in _STARTERS)


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background, where Ctrl-C is for others
    signal.signal(signal.SIGINT, signal.default_int_handler)


if not hasattr(sys.modules["__main__"], "__file__"):  # in a worker of pytest-xdist; without it, processes are forked
    sys.modules["__main__"].__file__ = pytest.__path__[0] + "/__main__.py"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _signal_handlers_stay() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def dataset() -> TensorDataset:
    x = torch.randn(24, 10, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long())


@pytest.fixture
def loader(dataset: TensorDataset) -> DataLoader:
    return DataLoader(dataset, 8, shuffle=True)


@pytest.fixture
def valid_loader(dataset: TensorDataset) -> DataLoader:
    return DataLoader(dataset, 12)


@pytest.fixture
def make() -> Callable[..., Any]:
    """Build a trainer of a class, by default `Classifier`, on a linear model with SGD."""

    def make(cls: type = Classifier, *, model: Any = None, **kwargs: Any) -> Any:
        model = model if model is not None else nn.Linear(10, 2)
        kwargs.setdefault("log_bar", False)
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1)
        elif isinstance(kwargs["optimizer"], type):
            kwargs["optimizer"] = kwargs["optimizer"](model.parameters())
        if callable(kwargs.get("scheduler")):
            kwargs["scheduler"] = kwargs["scheduler"](kwargs["optimizer"])
        return cls(model, kwargs.pop("device", "cpu"), **kwargs)

    return make


@pytest.fixture
def device_mesh() -> Iterator[Any]:
    """Return the mesh that Lightning's ModelParallelStrategy makes, of this process alone."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1, 1), mesh_dim_names=("data_parallel", "tensor_parallel"))
    finally:
        dist.destroy_process_group()
