"""Samplers: infinite ones, buckets, weights, repetitions."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
)

from zae_engine.trainer import Trainer

from .parts import Classifier, loaders, points, port, train_on


class InfiniteSampler(Sampler):
    """Of StyleGAN2-ADA: goes on for ever, and swaps within a window."""

    def __init__(self, n, window=0.5):
        self.n, self.window = n, window

    def __iter__(self):
        order = np.arange(self.n)
        rnd = np.random.RandomState(0)
        rnd.shuffle(order)
        size = int(np.rint(self.n * self.window))
        for i in itertools.count():
            at = i % self.n
            yield int(order[at])
            other = (at - rnd.randint(size)) % self.n
            order[at], order[other] = order[other], order[at]


class Sliced:
    """An epoch is a slice of an infinite loader, which goes on with the next one."""

    def __init__(self, loader, n):
        self.loader, self.n, self.batch_size, self.dataset = loader, n, loader.batch_size, loader.dataset
        self.iterator = iter(loader)

    def __len__(self):
        return self.n

    def __iter__(self):
        return itertools.islice(self.iterator, self.n)


@port
def epochs_as_slices_of_an_infinite_loader():
    """One batch too many that is read is missing in the next epoch."""
    loader = DataLoader(points(), 8, sampler=InfiniteSampler(48), num_workers=1)
    return train_on(Sliced(loader, 5), loaders()[1])


@port
def batches_in_buckets_of_like_length_shuffled_by_random():
    """A batch sampler with a number of tokens for each batch; the collate function pads."""

    class Buckets(Sampler):
        def __init__(self, lengths, max_tokens):
            self.lengths, self.max_tokens = lengths, max_tokens
            self.batches = self.make()

        def make(self):
            order = sorted(range(len(self.lengths)), key=lambda i: (self.lengths[i], random.random()))
            batches, batch = [], []
            for i in order:
                if batch and (len(batch) + 1) * self.lengths[i] > self.max_tokens:
                    batches.append(batch)
                    batch = []
                batch.append(i)
            batches.append(batch)
            random.shuffle(batches)
            return batches

        def __len__(self):
            return len(self.batches)

        def __iter__(self):
            yield from self.batches
            self.batches = self.make()

    def collate(samples):
        x, y = zip(*samples)
        longest = max(map(len, x))
        return torch.stack([F.pad(v, (0, 10 - len(v))) for v in x]), torch.stack(y), longest

    class Bucketed(Trainer):
        def train_step(self, batch):
            x, y, longest = batch
            return {"loss": F.cross_entropy(self.model(x), y), "longest": longest}

        test_step = train_step

    dataset = [(x[: 3 + i % 8], y) for i, (x, y) in enumerate(points())]
    loader = DataLoader(dataset, batch_sampler=Buckets([len(x) for x, _ in dataset], 40), collate_fn=collate)
    return train_on(loader, DataLoader(dataset, 16, collate_fn=collate), cls=Bucketed)


@port
def balanced_sampler_and_workers_seeded_by_the_script():
    """``worker_init_fn``, a generator of the loader's own, and weights by class."""

    class Noisy(Dataset):
        def __init__(self):
            self.x, self.y = points().tensors

        def __len__(self):
            return len(self.x)

        def __getitem__(self, i):
            return self.x[i] + np.random.randn(10).astype("float32") * 0.1 + random.random() * 0.1, self.y[i]

    def seed_worker(worker_id):
        worker_seed = torch.initial_seed() % 2**32
        np.random.seed(worker_seed)
        random.seed(worker_seed)

    dataset = Noisy()
    weights = 1.0 / torch.bincount(dataset.y)[dataset.y].double()
    g = torch.Generator()
    g.manual_seed(7)
    sampler = WeightedRandomSampler(weights, 40, generator=g)
    loader = DataLoader(dataset, 8, sampler=sampler, num_workers=2, worker_init_fn=seed_worker, generator=g)
    trainer = train_on(loader, DataLoader(dataset, 16))
    trainer.extra = g.get_state()
    return trainer


@port
def distributed_sampler_of_one_process_told_the_epoch():
    """``set_epoch`` is called by the script, at the start of each training epoch."""

    class Telling(Classifier):
        def log_reset(self, epoch_end=False):
            super().log_reset(epoch_end)
            if self.mode == "train":
                self.loader.sampler.set_epoch(self.progress_checker.get_epoch() - 1)

    sampler = DistributedSampler(points(), num_replicas=1, rank=0, shuffle=True, seed=3)
    return train_on(DataLoader(points(), 8, sampler=sampler), loaders()[1], cls=Telling)


@port
def sampler_that_repeats_each_sample_and_drops_the_rest():
    """Repeated augmentation of DeiT: a sampler by ceilings, and ``drop_last`` in a batch sampler of torch's."""

    class Repeated(Sampler):
        def __init__(self, n, repeats=3):
            self.n, self.repeats = n, repeats

        def __len__(self):
            return int(math.floor(self.n / 5) * 5)

        def __iter__(self):
            order = torch.randperm(self.n).tolist()
            return iter([i for i in order for _ in range(self.repeats)][: len(self)])

    sampler = BatchSampler(Repeated(48), 7, drop_last=True)
    valid = DataLoader(points(20, 2), batch_sampler=BatchSampler(RandomSampler(range(20)), 6, drop_last=False))
    return train_on(DataLoader(points(), batch_sampler=sampler), valid)
