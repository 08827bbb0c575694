"""Schedulers: per epoch and per batch."""

from __future__ import annotations

import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler

from .parts import build, data, loaders, odd_batches_only, scenario


@scenario
def chain_per_batch():
    def chain(optimizer):
        return SchedulerChain(WarmUpScheduler(optimizer, 7, 1e-4), CosineAnnealingScheduler(optimizer, 14, 1e-5))

    trainer = build(scheduler=chain, scheduler_step_on_batch=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def warm_up_per_epoch():
    trainer = build(scheduler=lambda o: WarmUpScheduler(o, 3, 1e-4))
    trainer.run(3, *loaders())
    return trainer


@scenario
def cosine_per_batch_with_none_batches():
    trainer = build(scheduler=lambda o: CosineAnnealingScheduler(o, 21), scheduler_step_on_batch=True)
    trainer.run(3, DataLoader(data(), 8, collate_fn=odd_batches_only()), loaders()[1])
    return trainer


@scenario
def step_lr_per_epoch():
    trainer = build(scheduler=lambda o: lr_scheduler.StepLR(o, 2, 0.5))
    trainer.run(4, *loaders())
    return trainer


@scenario
def one_cycle_per_batch():
    trainer = build(scheduler=lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30), scheduler_step_on_batch=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def sequential_schedulers_and_parameter_groups():
    def optimizer(model):
        return torch.optim.AdamW(
            [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}], lr=0.01
        )

    def scheduler(optimizer):
        parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 2), lr_scheduler.ExponentialLR(optimizer, 0.9)]
        return lr_scheduler.SequentialLR(optimizer, parts, [2])

    trainer = build(optimizer=optimizer, scheduler=scheduler)
    trainer.run(4, *loaders())
    return trainer
