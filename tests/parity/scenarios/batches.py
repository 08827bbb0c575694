"""Batches and loaders of all kinds."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from .parts import Traced, build, data, odd_batches_only, scenario


@scenario
def dict_batches():
    class Dicts(Traced):
        def train_step(self, batch):
            assert type(batch) is dict
            return super().train_step((batch["x"], batch["y"]))

        def test_step(self, batch):
            return super().test_step((batch["x"], batch["y"]))

    samples = [{"x": x, "y": y, "name": str(i)} for i, (x, y) in enumerate(data())]
    trainer = build(Dicts)
    trainer.run(2, DataLoader(samples, 8, shuffle=True), DataLoader(samples, 16))
    return trainer


Item = namedtuple("Item", ["x", "y"])


@scenario
def namedtuple_batches():
    class Tuples(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__)
            return super().train_step(batch)

    trainer = build(Tuples)
    trainer.run(2, DataLoader([Item(x, y) for x, y in data()], 8, shuffle=True))
    return trainer


@scenario
def bare_tensor_batches_come_as_rows():
    class Rows(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__, len(batch))
            x = batch if isinstance(batch, torch.Tensor) else torch.stack(batch)
            return {"loss": F.mse_loss(self.model(x), x)}

        test_step = train_step

    model = nn.Linear(10, 10)
    samples = [x for x, _ in data(33)]
    trainer = build(Rows, model=model)
    trainer.run(2, DataLoader(samples, 8, shuffle=True), DataLoader(samples, 16))  # the last batch has one row
    return trainer


@scenario
def one_element_sequences_and_nested_batches():
    class Nested(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__)
            if isinstance(batch, torch.Tensor):
                return super().train_step((batch, (batch.sum(1) > 0).long()))
            pair, extra = batch
            self.note(type(pair).__name__, sorted(extra))
            return super().train_step(tuple(pair))

    trainer = build(Nested)
    trainer.run(1, DataLoader(TensorDataset(data().tensors[0]), 8, shuffle=True))
    trainer.run(1, DataLoader([((x, y), {"i": i}) for i, (x, y) in enumerate(data())], 8, shuffle=True))
    return trainer


@scenario
def none_batches_in_training_and_validation():
    trainer = build()
    trainer.run(
        2,
        DataLoader(data(), 8, shuffle=True, collate_fn=odd_batches_only()),
        DataLoader(data(), 8, collate_fn=odd_batches_only()),
    )
    return trainer


@scenario
def batch_sampler_and_drop_last():
    trainer = build()
    trainer.run(1, DataLoader(data(), batch_sampler=BatchSampler(RandomSampler(data()), 8, drop_last=True)))
    trainer.run(1, DataLoader(data(), 8, drop_last=True), DataLoader(data(), 7, drop_last=True))
    return trainer


@scenario
def sized_iterable_dataset_that_draws():
    class Stream(IterableDataset):
        def __len__(self):
            return 24

        def __iter__(self):
            for _ in range(24):
                x = torch.randn(10)
                yield x, (x.sum() > 0).long()

    trainer = build()
    trainer.run(2, DataLoader(Stream(), 8), DataLoader(Stream(), 8))
    return trainer


@scenario
def homemade_loader_that_shuffles_in_iter():
    class Loader:
        batch_size = 8
        dataset = data()

        def __len__(self):
            return 6

        def __iter__(self) -> Iterator[Any]:
            order = torch.randperm(len(self.dataset))  # drawn when iter() is called
            x, y = self.dataset.tensors
            return iter([(x[i], y[i]) for i in order.split(8)[:6]])

    trainer = build()
    trainer.run(2, Loader(), Loader())
    trainer.run(1, Loader())
    return trainer
