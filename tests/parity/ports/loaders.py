"""Loaders: sharded, cycled, zipped, cached, threaded, exchanged, and read by hand."""

from __future__ import annotations

import itertools
import queue
import random
import threading

import torch
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    get_worker_info,
)

from zae_engine.trainer import Trainer

from .parts import CPU, Classifier, constant, dropout_net, loaders, mlp, points, port, train_on


class Shuffled(IterableDataset):
    """Shards a stream among the workers and shuffles it through a buffer, by `random`."""

    def __init__(self, n=40, buffer=8):
        self.n, self.buffer = n, buffer

    def __len__(self):
        return self.n

    def __iter__(self):
        info = get_worker_info()
        stream = zip(*points(self.n).tensors)
        if info is not None:
            stream = itertools.islice(stream, info.id, None, info.num_workers)
        held = []
        for sample in stream:
            if len(held) < self.buffer:
                held.append(sample)
                continue
            i = random.randrange(self.buffer)
            yield held[i]
            held[i] = sample
        random.shuffle(held)
        yield from held


@port
def iterable_dataset_with_a_shuffle_buffer_in_two_workers():
    """Each worker has its shard; the buffers draw by `random`, which each worker seeds."""
    return train_on(DataLoader(Shuffled(), 8, num_workers=2), DataLoader(Shuffled(20), 8))


@port
def iterable_dataset_in_the_process_itself():
    """The buffer draws from the script's own `random`, between the steps."""

    class Augmenting(Classifier):
        def train_step(self, batch):
            x, y = batch
            return super().train_step((x * random.choice([0.9, 1.0, 1.1]), y))

    return train_on(DataLoader(Shuffled(), 8), DataLoader(Shuffled(20), 8), cls=Augmenting)


@port
def epochs_as_slices_of_a_cycle_over_a_generator():
    """``cycle`` as many write it: a generator that starts the loader again and again."""

    def cycle(loader):
        while True:
            yield from loader

    class Cycled:
        def __init__(self, loader, n):
            self.batches, self.n, self.batch_size, self.dataset = cycle(loader), n, loader.batch_size, loader.dataset

        def __len__(self):
            return self.n

        def __iter__(self):
            for _ in range(self.n):
                yield next(self.batches)

    return train_on(Cycled(loaders()[0], 4), loaders()[1])


@port
def two_loaders_zipped():
    """Source and target domain, as long as the shorter one; what ``zip`` reads too much is lost."""

    class Zipped:
        def __init__(self, *parts):
            self.parts, self.batch_size, self.dataset = parts, parts[0].batch_size, parts[0].dataset

        def __len__(self):
            return min(map(len, self.parts))

        def __iter__(self):
            return zip(*self.parts)

    class Adapting(Trainer):
        def train_step(self, batch):
            (x, y), (other, _) = batch
            apart = (self.model[0](x).mean(0) - self.model[0](other).mean(0)).square().sum()
            return {"loss": F.cross_entropy(self.model(x), y) + apart, "apart": apart}

        def test_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch[0]), batch[1])}

    pair = Zipped(loaders()[0], DataLoader(points(40, 9), 8, shuffle=True))
    return train_on(pair, loaders()[1], cls=Adapting)


@port
def fixmatch_with_an_unlabelled_iterator_within_the_step():
    """``next`` in ``try``, and a new iterator where ``StopIteration`` says so."""

    class FixMatch(Classifier):
        def train_step(self, batch):
            x, y = batch
            try:
                u, _ = next(self.unlabelled_iter)
            except StopIteration:
                self.unlabelled_iter = iter(self.unlabelled)
                u, _ = next(self.unlabelled_iter)
            u = self._to_device(u)
            with torch.no_grad():
                confidence, label = self.model(u + 0.05 * torch.randn_like(u)).softmax(1).max(1)
            strong = self.model(u + 0.5 * torch.randn_like(u))
            mask = confidence.ge(0.55).float()
            lu = (F.cross_entropy(strong, label, reduction="none") * mask).mean()
            lx = F.cross_entropy(self.model(x), y)
            return {"loss": lx + lu, "mask": mask.mean()}

        def test_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch[0]), batch[1])}

    model = dropout_net()
    optimizer = torch.optim.SGD(model.parameters(), 0.03, momentum=0.9, nesterov=True)
    trainer = FixMatch(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.unlabelled = DataLoader(points(40, 3), 12, shuffle=True, drop_last=True)
    trainer.unlabelled_iter = iter(trainer.unlabelled)
    trainer.run(3, *loaders())
    return trainer


@port
def loader_of_timm_that_never_stops_its_workers():
    """``MultiEpochsDataLoader``: a sampler that repeats for ever, and one iterator for the life of the loader."""

    class RepeatSampler:
        def __init__(self, sampler):
            self.sampler = sampler

        def __iter__(self):
            while True:
                yield from iter(self.sampler)

        def __len__(self):
            return len(self.sampler)

    class MultiEpochsDataLoader(DataLoader):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._DataLoader__initialized = False
            self.batch_sampler = RepeatSampler(self.batch_sampler)
            self._DataLoader__initialized = True
            self.iterator = super().__iter__()

        def __len__(self):
            return len(self.batch_sampler.sampler)

        def __iter__(self):
            for _ in range(len(self)):
                yield next(self.iterator)

    train = MultiEpochsDataLoader(points(), 8, shuffle=True, num_workers=1)
    return train_on(train, MultiEpochsDataLoader(points(20, 2), 16, num_workers=1))


@port
def batches_cached_in_a_list_that_is_shuffled_in_place():
    """A list with the attributes of a loader; `random.shuffle` at the start of each epoch."""

    class Cached(list):
        batch_size, shuffle = 8, True

        @property
        def dataset(self):
            return self

        def __iter__(self):
            if self.shuffle:
                random.shuffle(self)
            return super().__iter__()

    train, valid = (Cached(loader) for loader in loaders())
    valid.shuffle = False
    trainer = train_on(train, valid)
    trainer.extra = list(train)
    return trainer


@port
def batches_fetched_ahead_by_a_thread():
    """``BackgroundGenerator``: a daemon thread fills a queue; each epoch has a thread of its own."""

    class DataLoaderX(DataLoader):
        def __iter__(self):
            ready = queue.Queue(2)

            def work():
                for batch in super(DataLoaderX, self).__iter__():
                    ready.put(batch)
                ready.put(None)

            threading.Thread(target=work, daemon=True).start()
            while (batch := ready.get()) is not None:
                yield batch

    g = torch.Generator()
    g.manual_seed(1)
    return train_on(DataLoaderX(points(), 8, shuffle=True, generator=g), DataLoader(points(20, 2), 8))


@port
def prefetcher_of_apex_around_a_loader():
    """The next batch is loaded before the present one is given, so that the order of draws is the prefetcher's."""

    class Prefetcher:
        def __init__(self, loader):
            self.loader = loader

        def __getattr__(self, name):
            if name == "loader":
                raise AttributeError(name)
            return getattr(self.loader, name)

        def __len__(self):
            return len(self.loader)

        def preload(self):
            try:
                x, y = next(self.iterator)
            except StopIteration:
                self.next = None
                return
            self.next = x.sub(0.1).div(1.1) + 0.01 * torch.randn_like(x), y

        def __iter__(self):
            self.iterator = iter(self.loader)
            self.preload()
            while self.next is not None:
                batch = self.next
                self.preload()
                yield batch

    return train_on(Prefetcher(loaders()[0]), Prefetcher(loaders()[1]))


@port
def loader_exchanged_by_the_script_between_runs_of_one_epoch():
    """The loop over epochs is the script's; each ``run`` has one, with a new loader and another batch size."""
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Classifier(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    outputs = []
    for epoch, batch_size in enumerate((4, 8, 16)):
        trainer.run(1, DataLoader(points(48, epoch), batch_size, shuffle=True), loaders()[1])
        trainer.log_reset()
        outputs.append((trainer.loss_buffer, trainer.progress_checker.get_step()))
    trainer.extra = outputs
    return trainer
