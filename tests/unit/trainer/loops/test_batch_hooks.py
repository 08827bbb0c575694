"""Batch hooks: what Lightning reads of a trainer, and what it asks for a batch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.trainer.loops.batch_hooks import BatchHooks

BATCH = torch.ones(4, 10), torch.zeros(4, dtype=torch.long)


class OwnBatches(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Lookalike:
    """Has the methods of an optimizer, and is none."""

    param_groups: tuple = ()

    def step(self) -> None: ...
    def zero_grad(self) -> None: ...


def test_optimizers_that_are_none_of_torchs_are_run_by_the_trainer(make):
    assert not BatchHooks(make(), [], {}).uses_manual_optimization
    assert BatchHooks(make(OwnBatches), [], {}).uses_manual_optimization
    hooks = BatchHooks(make(optimizer=Lookalike()), [], {})
    assert hooks.torch_optimizer is None
    assert hooks.uses_manual_optimization


def test_a_scheduler_of_another_optimizer_is_not_lightnings(make):
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    trainer = make()
    trainer.scheduler = torch.optim.lr_scheduler.StepLR(other, 1)
    assert BatchHooks(trainer, [], {}).torch_scheduler is None
    trainer.scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, 1)
    assert BatchHooks(trainer, [], {}).torch_scheduler is trainer.scheduler


def test_another_batch_size_gives_another_loader(make, dataset):
    trainer = make()
    trainer.loader = loader = DataLoader(dataset, 8)
    hooks = BatchHooks(trainer, loader, {})
    hooks.batch_size = 4
    assert hooks.batch_size == trainer.batch_size == trainer.loader.batch_size == 4
    assert loader.batch_size == 8


def test_a_none_batch_is_skipped(make):
    trainer = make()
    with BatchHooks(trainer, [None], {}) as hooks:
        hooks.run_batch_outside_loop(None)
        hooks.run_batch_outside_loop(BATCH)
    assert trainer.progress_checker.get_step() == 2


def test_replacements_of_backward_and_step_end_with_the_batch(make):
    trainer, calls = make(OwnBatches), []

    def backward(loss):
        calls.append("backward")
        loss.backward()

    with BatchHooks(trainer, [BATCH], {}) as hooks:
        output = hooks.run_batch(BATCH, backward=backward, step=lambda: calls.append("step"))
    assert calls == ["backward", "step"]
    assert set(output) == {"loss", "acc"}
    before = trainer.model.weight.clone()
    trainer.run_batch(BATCH)
    assert calls == ["backward", "step"]
    assert not torch.equal(trainer.model.weight, before)


def test_replacements_end_with_an_exception_too(make):
    class Failing(OwnBatches):
        def train_step(self, batch):
            raise ArithmeticError

    trainer = make(Failing)
    with BatchHooks(trainer, [BATCH], {}) as hooks, pytest.raises(ArithmeticError):
        hooks.run_batch(BATCH, backward=lambda loss: None, step=lambda: None)
    assert trainer._zae_state.batch.backward is None
    assert trainer._zae_state.batch.step_output is None


def test_a_copy_of_the_module_has_the_same_hooks(make):
    hooks = BatchHooks(make(), [], {})
    assert copy.deepcopy(hooks) is hooks
    assert copy.deepcopy({"hooks": hooks})["hooks"] is hooks


def test_records_restore_counts_optimizer_and_scheduler(make, loader):
    def with_scheduler():
        model = torch.nn.Linear(10, 2)
        optimizer = torch.optim.Adam(model.parameters())
        return make(model=model, optimizer=optimizer, scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 1))

    trainer, other = with_scheduler(), with_scheduler()
    trainer.run(2, loader)
    BatchHooks(other, [], {}).load_records(BatchHooks(trainer, [], {}).records())
    assert other.progress_checker.get_epoch() == 3
    assert len(other.history) == 2
    assert len(other.optimizer.state) == 2
    assert other.scheduler.last_epoch == 2
