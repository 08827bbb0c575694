"""Manual module: an overridden ``run_batch`` in Lightning's loop, with its steps counted and its gradients clipped."""

from __future__ import annotations

import pytest
import torch
from zae_lightning import ManualOptimizationModule, make_module

from tests.conftest import Classifier
from zae_engine.trainer.loops.fit_hooks import FitHooks


class Overridden(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Doubling(Classifier):
    """Takes two optimizer steps for each batch."""

    def run_batch(self, batch, **kwargs):
        for _ in range(2):
            self.optimizer.zero_grad()
            step = self.train_step(self._to_device(*batch))
            step["loss"].backward()
            self.optimizer.step()
        self.logging(step)


def test_an_overridden_run_batch_gets_manual_optimization(make):
    assert not isinstance(make_module(FitHooks(make(), 1, {})), ManualOptimizationModule)
    module = make_module(FitHooks(make(Overridden), 1, {}))
    assert isinstance(module, ManualOptimizationModule)
    assert not module.automatic_optimization


def test_the_results_are_those_of_automatic_optimization(make, loader, valid_loader):
    weights = []
    for cls in (Classifier, Overridden):
        torch.manual_seed(0)
        trainer = make(cls, gradient_clip=0.01)
        trainer.run(2, loader, valid_loader)
        weights.append(trainer.model.weight.detach())
        assert trainer.lightning_trainer.global_step == 6
    assert torch.equal(*weights)


def test_every_step_of_the_users_is_counted(make, loader):
    trainer = make(Doubling)
    trainer.run(1, loader)
    assert trainer.lightning_trainer.global_step == 6
    assert len(trainer.get_loss_history()) == 3


def test_the_step_of_an_optimizer_that_replaces_another_within_a_batch_is_counted(make, loader):
    class Replacing(Classifier):
        def run_batch(self, batch, **kwargs):
            if self.progress_checker.get_step() == 2:
                self.optimizer = torch.optim.Adam(self.model.parameters())
            super().run_batch(batch, **kwargs)

    trainer = make(Replacing)
    trainer.run(1, loader)
    assert trainer.lightning_trainer.global_step == 3
    assert trainer.lightning_trainer.optimizers == [trainer.optimizer]
    assert all(state["step"] == 2 for state in trainer.optimizer.state.values())


def test_no_step_hook_stays_on_the_optimizer_after_an_exception(make, loader):
    class Failing(Overridden):
        def train_step(self, batch):
            raise ValueError("mine")

    trainer = make(Failing)
    with pytest.raises(ValueError, match="mine"):
        trainer.run(1, loader)
    assert not trainer.optimizer._optimizer_step_post_hooks


def test_run_batch_receives_the_batch_of_the_loader_unchanged(make):
    received = []

    class Noting(Overridden):
        def run_batch(self, batch, **kwargs):
            received.append(batch)
            super().run_batch(batch, **kwargs)

    batch = (torch.ones(4, 10), torch.zeros(4, dtype=torch.long))
    make(Noting).run(1, [batch])
    assert received[0] is batch


def test_prediction_unpacks_the_batch(make, valid_loader):
    module = make(Overridden).lightning_module
    batch = next(iter(valid_loader))
    module.model.eval()
    assert torch.equal(module.predict_step(batch), module.model(batch[0]))
