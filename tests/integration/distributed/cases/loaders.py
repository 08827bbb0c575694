"""Loaders of all kinds, in training and in validation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler, WeightedRandomSampler

from .common import Classifier, case, dataset, run, size, trainer_of


@case
def sgd():
    return run(trainer_of())


@case
def adam():
    return run(trainer_of(optimizer=torch.optim.Adam, lr=0.01))


@case
def a_rest_that_not_every_rank_gets_a_batch_of():
    return run(trainer_of(), DataLoader(dataset(34), size(4), shuffle=True))  # 34 = 4 * 8 + 2


@case
def a_rest_of_one_sample():
    return run(trainer_of(), DataLoader(dataset(33), size(4), shuffle=True))


@case
def a_rest_that_is_dropped():
    return run(trainer_of(), DataLoader(dataset(), size(4), shuffle=True, drop_last=True))


@case
def no_shuffling():
    return run(trainer_of(), DataLoader(dataset(), size(4)))


@case
def a_generator_of_the_loaders_own():
    return run(trainer_of(), DataLoader(dataset(), size(4), shuffle=True, generator=torch.Generator().manual_seed(5)))


@case
def a_weighted_sampler():
    data = dataset()
    return run(trainer_of(), DataLoader(data, size(4), sampler=WeightedRandomSampler(torch.arange(37.0) + 1, 37)))


class Backwards(Sampler):
    def __iter__(self):
        return iter(range(36, -1, -1))

    def __len__(self):
        return 37


@case
def a_sampler_of_ones_own():
    return run(trainer_of(), DataLoader(dataset(), size(4), sampler=Backwards()))


@case
def a_batch_sampler():
    return run(trainer_of(), DataLoader(dataset(), batch_sampler=BatchSampler(Backwards(), size(4), False)))


@case
def worker_processes():
    # CPython 3.11 can deadlock in a fork while a thread of gloo gives up its thread state: the workers are spawned.
    loader = DataLoader(
        dataset(), size(4), shuffle=True, num_workers=2, persistent_workers=True, multiprocessing_context="spawn"
    )
    return run(trainer_of(), loader)


def as_dict(rows):
    return {"x": torch.stack([r[0] for r in rows]), "y": torch.stack([r[1] for r in rows]), "n": len(rows)}


class OnDicts(Classifier):
    def train_step(self, batch):
        output = self.model(batch["x"])
        return {"loss": F.cross_entropy(output, batch["y"]), "output": batch["y"]}


@case
def a_collate_function():
    return run(trainer_of(OnDicts), DataLoader(dataset(), size(4), shuffle=True, collate_fn=as_dict))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(list(dataset(36)))


@case
def an_iterable_dataset():
    return run(trainer_of(), DataLoader(Stream(), size(4)))


@case
def a_list_of_batches():
    x, y, index = dataset(36).tensors
    rows = [slice(start, start + size(4)) for start in range(0, 36, size(4))]
    return run(trainer_of(), [[x[part], y[part], index[part]] for part in rows])


@case
def a_validation_with_a_rest():
    return run(trainer_of(), valid_loader=DataLoader(dataset(31), 7))


@case
def a_validation_of_one_batch():
    return run(trainer_of(), valid_loader=DataLoader(dataset(5), 7))


@case
def validation_with_batch_norm_buffers():
    class Frozen(Classifier):
        def train_step(self, batch):
            self.model[1].eval()  # so that one process and two compute the same
            return super().train_step(batch)

    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    return run(trainer_of(Frozen, net), valid_loader=DataLoader(dataset(31), 7))
