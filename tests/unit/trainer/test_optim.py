"""Optimization: rates, clipping and steps of schedulers, by values alone."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from zae_engine.trainer.optim import (
    clip_gradients,
    is_torch_optimizer,
    learning_rate,
    monitored_quantity,
    set_optimizer_mode,
    step_scheduler,
)


@pytest.fixture
def model() -> torch.nn.Linear:
    return torch.nn.Linear(3, 2)


@pytest.fixture
def optimizer(model: torch.nn.Linear) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.5)


def test_an_optimizer_is_told_from_an_object_with_the_same_methods(optimizer):
    class Lookalike:
        def step(self) -> None: ...
        def zero_grad(self) -> None: ...

    assert is_torch_optimizer(optimizer)
    assert not is_torch_optimizer(Lookalike())
    assert not is_torch_optimizer(None)


def test_the_rate_is_that_of_the_first_group(model):
    groups = [{"params": [model.weight], "lr": 0.25}, {"params": [model.bias], "lr": 0.75}]
    assert learning_rate(torch.optim.SGD(groups)) == 0.25
    assert learning_rate(None) == 0.0


def test_gradients_are_clipped_by_their_norm_and_left_alone_by_zero(model):
    for max_norm, expected in ((0.0, 5.0), (1.0, 1.0)):
        model.zero_grad()
        model.weight.grad = torch.zeros_like(model.weight)
        model.weight.grad[0, 0], model.weight.grad[1, 1] = 3.0, 4.0
        clip_gradients(model, max_norm)
        assert model.weight.grad.norm().item() == pytest.approx(expected, rel=1e-4)


def test_a_plateau_scheduler_receives_the_loss_and_is_not_stepped_without_one(optimizer):
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    for loss in (torch.tensor(1.0, requires_grad=True), None, None, 2.0):
        step_scheduler(scheduler, loss, {})
    assert scheduler.best == 1.0
    assert learning_rate(optimizer) == 0.25


def test_other_schedulers_receive_the_arguments_and_no_loss(optimizer):
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    step_scheduler(scheduler, 3.0, {})
    assert learning_rate(optimizer) == 0.25
    received = []

    class Recording:
        def step(self, **kwargs: object) -> None:
            received.append(kwargs)

    step_scheduler(Recording(), 3.0, {"epoch": 2})
    step_scheduler(None, 3.0, {"epoch": 2})
    assert received == [{"epoch": 2}]


def test_a_monitored_quantity_is_the_loss_or_the_named_value():
    scheduler = ReduceLROnPlateau(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), mode="max")
    assert monitored_quantity(scheduler, 1.0, {"test_acc": 0.5}) == 1.0
    for name in ("test_acc", "val_acc"):
        scheduler.monitor = name
        assert monitored_quantity(scheduler, 1.0, {"test_acc": 0.5}) == 0.5
    assert monitored_quantity(scheduler, None, {"test_acc": 0.5}) is None
    scheduler.monitor = "f1"
    with pytest.raises(ValueError, match=r"'f1'.*test_acc"):
        monitored_quantity(scheduler, 1.0, {"test_acc": 0.5})


def test_only_an_optimizer_with_both_methods_has_modes():
    class Modes:
        mode = "train"

        def train(self):
            self.mode = "train"

        def eval(self):
            self.mode = "eval"

    optimizer = Modes()
    set_optimizer_mode(optimizer, "test")
    assert optimizer.mode == "eval"
    set_optimizer_mode(optimizer, "train")
    assert optimizer.mode == "train"
    set_optimizer_mode(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), "test")
