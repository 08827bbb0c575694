"""Closure warnings: LBFGS with clipped or accumulated gradients."""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.conftest import Classifier
from tests.unit.zae_lightning.test_closures import Calls


def few_iterations(parameters):
    return torch.optim.LBFGS(parameters, lr=0.1, max_iter=2)


def warned(trainer, loader):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer.run(1, loader)
        trainer.run(1, loader)
    return [str(w.message) for w in seen if "several times a step" in str(w.message)]


def lbfgs(make, cls=Classifier, **kwargs):
    model = torch.nn.Linear(10, 2)
    return make(cls, model=model, optimizer=few_iterations(model.parameters()), **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"gradient_clip": 1.0}, "gradient clipping changes"),
        ({"lightning": {"gradient_clip_val": 1.0}}, "gradient clipping changes"),
        ({"lightning": {"accumulate_grad_batches": 2}}, "accumulation adds"),
        ({"gradient_clip": 1.0, "lightning": {"accumulate_grad_batches": 2}}, "compares and accumulation adds"),
    ],
)
def test_lbfgs_is_warned_of_once(make, loader, kwargs, text):
    (message,) = warned(lbfgs(make, **kwargs), loader)
    assert message.startswith("LBFGS evaluates the loss several times a step, so that ")
    assert text in message


def test_without_these_settings_or_with_an_own_run_batch_there_is_none(make, loader):
    class Own(Classifier):
        def run_batch(self, batch, **kwargs):
            """Do nothing."""

    assert warned(lbfgs(make), loader) == []
    assert warned(lbfgs(make, Own, gradient_clip=1.0), loader) == []
    assert warned(make(gradient_clip=1.0, lightning={"accumulate_grad_batches": 2}), loader) == []


def test_another_optimizer_with_a_closure_may_clip_but_not_accumulate(make, loader):
    model = torch.nn.Linear(10, 2)
    make_optimizer = lambda parameters: Calls(parameters, lr=0.1)  # noqa: E731
    assert warned(make(model=model, optimizer=make_optimizer(model.parameters()), gradient_clip=1.0), loader) == []
    settings = {"accumulate_grad_batches": 2}
    (message,) = warned(make(model=model, optimizer=make_optimizer(model.parameters()), lightning=settings), loader)
    assert message.startswith("Calls evaluates")
