"""Plain use: training, validation, testing, several runs, worker processes, single epochs and batches."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from zae_engine.schedulers import CosineAnnealingScheduler

from .parts import build, data, loaders, net, scenario


@scenario
def training_only():
    trainer = build()
    trainer.run(3, loaders()[0])
    return trainer


@scenario
def training_and_validation():
    trainer = build(log_bar=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def batch_norm_and_clipping():
    trainer = build(
        model=net(norm=True), gradient_clip=0.1, optimizer=lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9)
    )
    trainer.run(3, *loaders())
    return trainer


@scenario
def worker_processes_with_random_augmentation():
    class Noisy(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            x = torch.randn(10)
            return x, (x.sum() > i * 0.01).long()

    trainer = build()
    trainer.run(2, DataLoader(Noisy(), 8, shuffle=True, num_workers=2), DataLoader(Noisy(), 8, num_workers=1))
    return trainer


@scenario
def persistent_workers_and_two_runs():
    trainer = build()
    loader = DataLoader(data(), 8, shuffle=True, num_workers=1, persistent_workers=True)
    trainer.run(1, loader)
    trainer.run(2, loader)
    return trainer


@scenario
def two_runs_in_a_row():
    trainer = build(scheduler=lambda o: CosineAnnealingScheduler(o, 20))
    train, valid = loaders()
    trainer.run(2, train, valid)
    trainer.run(3, train, valid)
    trainer.run(0, train)
    trainer.run(1, train)
    return trainer


@scenario
def two_trainers_on_one_model():
    first = build()
    first.run(2, *loaders())
    second = build(model=first.model)
    second.run(2, *loaders())
    return second


@scenario
def test_mode_without_optimizer():
    trainer = build(mode="test", model=net(norm=True))
    trainer.run(2, loaders()[1])
    return trainer


@scenario
def everything_in_one_life():
    trainer = build(log_bar=True)
    train, valid = loaders()
    trainer.run(1, train, valid)
    trainer.trace.append(trainer.inference(valid))
    trainer.run(1, train)
    trainer.toggle()
    trainer.run(1, valid)
    trainer.toggle("train")
    trainer.run_epoch(train)
    trainer.run_batch(next(iter(train)))
    trainer.run(1, train, valid)
    return trainer


@scenario
def standalone_epochs_and_batches():
    trainer = build()
    train, valid = loaders()
    trainer.run_epoch(train)
    trainer.run_epoch(train)
    trainer.toggle("test")
    trainer.run_epoch(valid)
    trainer.run_batch(next(iter(valid)))
    trainer.toggle("train")
    for batch in train:
        trainer.run_batch(batch)
    trainer.log_reset(epoch_end=True)
    trainer.run_epoch(train)
    return trainer
