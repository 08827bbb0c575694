"""Streams: loaders that are their own iterators, have no length, or a state that cannot be read."""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from .parts import Classifier, loaders, points, port, train_on, without_length


class Restarting:
    """Batches of a text file's kind: ``__iter__`` starts again and returns itself."""

    batch_size = 8

    def __init__(self, n=48, seed=1):
        self.dataset = points(n, seed)

    def __len__(self):
        return len(self.dataset) // self.batch_size

    def __iter__(self):
        self.order, self.at = np.random.permutation(len(self.dataset)), 0
        return self

    def __next__(self):
        if self.at + self.batch_size > len(self.order):
            raise StopIteration
        chosen = self.order[self.at : self.at + self.batch_size]
        self.at += self.batch_size
        x, y = self.dataset.tensors
        return x[chosen], y[chosen]


@port
def iterator_that_starts_anew_and_returns_itself():
    """Several epochs of it, in training and validation."""
    return train_on(Restarting(), Restarting(24, 2))


class DaliIterator:
    """Of DALI: ``__iter__`` returns the iterator as it is, which resets itself at the end of an epoch.

    Batches are lists with a dict for each pipeline.
    """

    def __init__(self, n, batch_size, seed=1):
        self.dataset, self.batch_size, self.size = points(n, seed), batch_size, n
        self.reset()

    def reset(self):
        self.order, self.counter = torch.randperm(self.size), 0

    def __len__(self):
        return -(-self.size // self.batch_size)

    def __iter__(self):
        return self

    def __next__(self):
        if self.counter >= self.size:
            self.reset()
            raise StopIteration
        chosen = self.order[self.counter : self.counter + self.batch_size]
        self.counter += self.batch_size
        x, y = self.dataset.tensors
        return [{"data": x[chosen], "label": y[chosen]}]

    next = __next__


class DaliClassifier(Classifier):
    """Takes the dict of the one pipeline."""

    def train_step(self, batch):
        return super().train_step((batch["data"], batch["label"]))

    test_step = train_step


@port
def iterator_of_dali_that_resets_itself():
    """What is drawn for the next epoch is drawn at the end of this one."""
    return train_on(DaliIterator(44, 8), DaliIterator(20, 8, 2), cls=DaliClassifier)


@without_length
class EndlessDali(DaliIterator):
    """The same without a length, as where no reader is named."""

    __len__ = None  # type: ignore[assignment]


@port
def iterator_of_dali_without_a_length():
    """As above; nothing but the end tells the end."""
    return train_on(EndlessDali(44, 8), EndlessDali(20, 8, 2), cls=DaliClassifier)


@without_length
class Stream(IterableDataset):
    """Samples that are drawn as they come, by all three generators, and whose number is not known."""

    def __iter__(self):
        while random.random() > 0.03:
            x = torch.randn(10) + float(np.random.randn()) * 0.1
            yield x, (x.sum() > 0).long()


@port
def stream_without_a_length_between_steps_that_draw():
    """Dropout draws from the generator that the stream draws from: nothing may be read ahead."""
    return train_on(DataLoader(Stream(), 4), DataLoader(Stream(), 4))


@port
def stream_without_a_length_in_workers():
    """Workers have generators of their own, and read ahead as they do in a loop."""
    return train_on(DataLoader(Stream(), 4, num_workers=2), DataLoader(Stream(), 4, num_workers=1))


@port
def stream_without_a_length_behind_an_own_run_batch():
    """The same where the batches are the trainer's own affair."""

    class Noisy(Classifier):
        def run_batch(self, batch, **kwargs):
            x, y = batch
            super().run_batch((x + 0.1 * torch.randn_like(x), y), **kwargs)

    return train_on(DataLoader(Stream(), 4), loaders()[1], cls=Noisy)


@port
def stream_without_a_length_in_tests_and_inference():
    """``inference`` reads a stream too, and the outputs are in order."""

    class Output(Classifier):
        def test_step(self, batch):
            output = self.model(batch[0]) + 0.01 * torch.randn(2)
            return {**super().test_step(batch), "output": output}

    trainer = train_on(loaders()[0], DataLoader(Stream(), 4), cls=Output, epochs=2)
    trainer.extra = list(trainer.inference(DataLoader(Stream(), 4)))
    return trainer


class Pipeline(IterableDataset):
    """Of WebDataset: a pipeline of stages, which is a dataset and gives batches."""

    batch_size = 8

    def __init__(self, *stages):
        self.stages, self.repetitions, self.nsamples = list(stages), (0, 1), -1

    @property
    def dataset(self):
        return self

    def compose(self, stage):
        return Pipeline(*self.stages, stage)

    def shuffle(self, size):
        def stage(source):
            held = []
            for sample in source:
                held.append(sample)
                if len(held) >= size:
                    yield held.pop(random.randrange(len(held)))
            random.shuffle(held)
            yield from held

        return self.compose(stage)

    def map_tuple(self, *functions):
        return self.compose(lambda source: (tuple(f(v) for f, v in zip(functions, s)) for s in source))

    def batched(self, size):
        def stage(source):
            source = iter(source)
            while batch := list(itertools.islice(source, size)):
                yield [torch.stack(v) for v in zip(*batch)]

        return self.compose(stage)

    def with_epoch(self, n):
        self.nsamples = n
        return self

    def __iter__(self):
        source = self.stages[0]()
        for stage in self.stages[1:]:
            source = stage(source)
        return itertools.islice(source, self.nsamples) if self.nsamples > 0 else iter(source)


def pipeline(cls, seed=1):
    """Return a pipeline without an end, cut into epochs of four batches."""

    def shards():
        while True:
            yield from zip(*points(24, seed).tensors)

    stages = Pipeline(shards).shuffle(6).map_tuple(lambda x: x + 0.1 * torch.randn(10), lambda y: y).batched(8).stages
    return cls(*stages).with_epoch(4)


class Sized(Pipeline):
    """``with_length``."""

    def __len__(self):
        return 4


@without_length
class Unsized(Pipeline):
    """As it comes."""


@port
def pipeline_of_webdataset_with_a_length():
    """An infinite pipeline that is cut into epochs, with ``with_length``."""
    return train_on(pipeline(Sized), pipeline(Sized, 2))


@port
def pipeline_of_webdataset_without_a_length():
    """As above, without."""
    return train_on(pipeline(Unsized), pipeline(Unsized, 2))


class BrokenState:
    """A loader whose methods for its state are there and raise, as accelerate's without a stateful loader in it."""

    def __init__(self, loader):
        self.base_dataloader = loader

    def __getattr__(self, name):
        if name == "base_dataloader":
            raise AttributeError(name)
        return getattr(self.base_dataloader, name)

    def __iter__(self):
        return iter(self.base_dataloader)

    def __len__(self):
        return len(self.base_dataloader)

    def state_dict(self):
        return self.dl_state_dict

    def load_state_dict(self, state_dict):
        self.base_dataloader.load_state_dict(state_dict)


@without_length
class BrokenStateAndLength(BrokenState):
    """The same around a stream."""

    __len__ = None  # type: ignore[assignment]


@port
def loader_whose_state_dict_raises():
    """With a length."""
    return train_on(BrokenState(loaders()[0]), BrokenState(loaders()[1]))


@port
def stream_whose_state_dict_raises():
    """Without a length: each batch would ask for the state."""
    return train_on(BrokenStateAndLength(DataLoader(Stream(), 4)), loaders()[1])


@port
def loader_prepared_by_accelerate():
    """``DataLoaderShard``: one batch is read ahead, so that the last one is known, and generators are synchronised."""

    class DataLoaderShard(DataLoader):
        end_of_dataloader = False

        def __iter__(self):
            self.generator.set_state(self.generator.get_state())  # synchronize_rng_states
            self.end_of_dataloader = False
            iterator = super().__iter__()
            try:
                current = next(iterator)
            except StopIteration:
                return
            while True:
                try:
                    following = next(iterator)
                except StopIteration:
                    self.end_of_dataloader = True
                    yield current
                    break
                yield current
                current = following

        @property
        def total_batch_size(self):
            return self.batch_size

        def state_dict(self):
            raise AttributeError("dl_state_dict")

        def load_state_dict(self, state_dict):
            raise NotImplementedError

    class Knowing(Classifier):
        def logging(self, step_dict):
            super().logging({**step_dict, "is_last": float(self.loader.end_of_dataloader)})

    train, valid = (
        DataLoaderShard(points(n, n), 8, shuffle=True, generator=torch.Generator().manual_seed(n)) for n in (48, 20)
    )
    trainer = train_on(train, valid, cls=Knowing)
    trainer.extra = train.generator.get_state()
    return trainer


@port
def loader_that_opens_and_closes_something_around_each_epoch():
    """A generator with ``with`` in it: the code behind the last batch runs before what follows the epoch."""
    events = []

    class Files(Dataset):
        batch_size = 8

        @property
        def dataset(self):
            return self

        def __len__(self):
            return 3

        def __iter__(self):
            events.append("open")
            try:
                for x, y in loaders()[0]:
                    if len(events) % 7 == 5:
                        break
                    events.append("batch")
                    yield x, y
                    if events[-1] == "step" and events.count("batch") % 3 == 0:
                        return
            finally:
                events.append("close")

    class Noting(Classifier):
        def logging(self, step_dict):
            super().logging(step_dict)
            events.append("step")

        def metric_on_epoch_end(self):
            events.append("metric")
            return {}

    trainer = train_on(Files(), loaders()[1], cls=Noting)
    trainer.extra = events
    return trainer
