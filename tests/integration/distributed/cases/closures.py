"""Optimizers that evaluate the loss several times a step: all ranks see the loss of all, and call it equally often.

The problems are well-conditioned and have few batches: with others, rounding alone leads a line search elsewhere.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from .common import Classifier, case, dataset, run, size, trainer_of


class Ridge(Classifier):
    def loss(self, x, y):
        return F.cross_entropy(self.model(x), y) + 0.05 * sum(p.square().sum() for p in self.model.parameters())

    def train_step(self, batch):
        x, y, index = batch
        return {"loss": self.loss(x, y), "output": index}


class StepsByItself(Ridge):
    def run_batch(self, batch, **kwargs):
        x, y, index = self._to_device(*batch)
        losses = []

        def closure():
            self.optimizer.zero_grad()
            loss = self.loss(x, y)
            loss.backward()
            losses.append(loss.detach())
            return loss

        self.optimizer.step(closure=closure)
        self.logging({"loss": losses[0], "output": index})
        self.progress_checker.update_step()


class CallsSuper(Ridge):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


def lbfgs(parameters, lr):
    return torch.optim.LBFGS(parameters, lr=0.5, max_iter=4, line_search_fn="strong_wolfe")


class Halving(torch.optim.Optimizer):
    """Gradient descent that halves its rate until the loss is lower: other losses mean other numbers of calls."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": 16.0})
        self.calls = []

    def step(self, closure):
        before, rate = self.evaluate(closure), self.param_groups[0]["lr"]
        parameters = self.param_groups[0]["params"]
        starts = [(p.detach().clone(), p.grad.clone()) for p in parameters]
        self.calls.append(1)
        for _ in range(12):
            with torch.no_grad():
                for p, (value, gradient) in zip(parameters, starts, strict=True):
                    p.copy_(value - rate * gradient)
            self.calls[-1] += 1
            if self.evaluate(closure) < before:
                break
            rate /= 2
        return before

    def evaluate(self, closure):
        with torch.enable_grad():
            return float(closure())


def whole(n):
    """Return a loader of one batch, whose ranks have half of it each, or one sample more."""
    return DataLoader(dataset(n), size((n + 1) // 2), shuffle=True)


@case
def lbfgs_with_a_line_search():
    return run(trainer_of(Ridge, nn.Linear(6, 2), lbfgs), whole(32))


@case
def lbfgs_with_shares_that_differ():
    return run(trainer_of(Ridge, nn.Linear(6, 2), lbfgs), whole(33))


@case
def lbfgs_in_an_overridden_run_batch():
    return run(trainer_of(StepsByItself, nn.Linear(6, 2), lbfgs), whole(33))


@case
def lbfgs_in_an_overridden_run_epoch_that_calls_super():
    return run(trainer_of(CallsSuper, nn.Linear(6, 2), lbfgs), whole(33))


@case
def a_line_search_of_ones_own():
    trainer = run(trainer_of(Ridge, nn.Linear(6, 2), Halving))
    trainer.outputs = trainer.optimizer.calls
    return trainer
