"""What a user is told where a port of a public training loop goes wrong, and where it must not be stopped."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import Classifier


class Bare(torch.optim.Optimizer):
    """Wraps an optimizer and never calls ``Optimizer.__init__``: no hooks, no ``defaults``, no ``state``."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self.base, self.param_groups = base, base.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:
        self.base.step(closure)


class Rateless(torch.optim.Optimizer):
    """Has no "lr" in its groups."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p -= 0.1 * p.grad


class NoState:
    """A loader whose methods for its state are there and raise."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Any:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> Any:
        raise AttributeError("dl_state_dict")

    def load_state_dict(self, state: Any) -> None:
        raise AttributeError("dl_state_dict")


class Failing(Classifier):
    def train_step(self, batch):
        raise ZeroDivisionError("the user's own")


class FailingBatchwise(Failing):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


@pytest.mark.parametrize("cls", [Failing, FailingBatchwise])
def test_an_exception_in_a_step_is_not_hidden_by_a_loader_without_a_state(make, cls, loader):
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        make(cls).run(1, NoState(loader))


@pytest.mark.parametrize("cls", [Failing, FailingBatchwise])
def test_an_exception_in_a_step_is_not_hidden_by_an_optimizer_without_a_state(make, cls, loader):
    model = nn.Linear(10, 2)
    optimizer = Bare(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        make(cls, model=model, optimizer=optimizer).run(1, loader)


@pytest.mark.parametrize("kind", ["generator", "zip", "map", "iterator of a list", "iterator of a DataLoader"])
def test_an_iterator_that_is_surely_used_up_is_refused_before_the_run(make, loader, kind):
    used_up = {
        "generator": (batch for batch in loader),
        "zip": zip(loader, loader, strict=True),
        "map": map(tuple, loader),
        "iterator of a list": iter(list(loader)),
        "iterator of a DataLoader": iter(loader),
    }[kind]
    trainer = make()
    with pytest.raises(TypeError, match="used up"):
        trainer.run(2, used_up)
    assert trainer.progress_checker.get_step() == 1


def test_an_optimizer_of_another_model_is_told_of(make, loader):
    trainer = make(optimizer=torch.optim.SGD(nn.Linear(10, 2).parameters(), lr=0.1))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            trainer.run(2, loader)
            told = [str(w.message) for w in seen]
        except ValueError as error:
            told = [str(error)]
    assert any("SGD" in text and "parameters" in text for text in told), told


def test_an_optimizer_without_a_rate_shows_none(make, loader, capsys):
    model = nn.Linear(10, 2)
    trainer = make(model=model, optimizer=Rateless(model.parameters()), log_bar=True)
    trainer.run(1, loader)
    assert trainer.history[-1].get("lr") is None
    assert "0.000e+00" not in str(trainer.print_log(1, 3))
    assert "Rateless" in repr(trainer)
    assert "learning rate" not in repr(trainer)
    assert "LR" not in capsys.readouterr().err


def test_a_rate_that_is_none_shows_none(make, loader):
    model = nn.Linear(10, 2)
    trainer = make(model=model, optimizer=Rateless([{"params": list(model.parameters()), "lr": None}]))
    trainer.run(1, loader)
    assert trainer.history[-1].get("lr") is None
    assert "Rateless" in repr(trainer)


def test_a_loader_without_a_length_is_read_when_its_batch_is_due(make, dataset):
    events = []

    class Stream:
        batch_size = 8

        def __init__(self, name: str) -> None:
            self.name, self.dataset = name, dataset

        def __iter__(self) -> Any:
            for batch in DataLoader(dataset, 8):
                events.append(f"read {self.name}")
                yield batch
            events.append(f"end of {self.name}")

    class Noting(Classifier):
        def logging(self, step_dict):
            super().logging(step_dict)
            events.append(f"step {self.mode}")

    make(Noting).run(2, Stream("train"), Stream("test"))
    epoch = [event for name in ("train", "test") for event in [*[f"read {name}", f"step {name}"] * 3, f"end of {name}"]]
    assert events == epoch * 2


def test_a_loader_with_a_length_raises_no_warning_of_workers_that_are_not_there(make):
    class Counted(torch.utils.data.IterableDataset):
        def __len__(self) -> int:
            return 16

        def __iter__(self) -> Any:
            yield from ((torch.randn(10), 1) for _ in range(16))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().run(1, DataLoader(Counted(), 8), DataLoader(Counted(), 8))
