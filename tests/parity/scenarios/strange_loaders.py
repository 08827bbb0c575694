"""Loaders that lie about their length, change it, or are hardly loaders."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, get_worker_info

from .parts import Traced, build, data, scenario


class Shards(IterableDataset):
    """Splits itself among the workers, so that there are more batches than its length tells."""

    def __len__(self):
        return 50

    def __iter__(self):
        info = get_worker_info()
        x, y = data().tensors
        for i in range(info.id if info else 0, 50, info.num_workers if info else 1):
            yield x[i], y[i]


@scenario
def more_batches_than_the_length_tells():
    trainer = build()
    trainer.run(2, DataLoader(Shards(), 8, num_workers=2), DataLoader(Shards(), 16, num_workers=2))
    trainer.inference(DataLoader(Shards(), 16, num_workers=2))
    return trainer


@scenario
def fewer_batches_than_the_length_tells():
    class Filtering(IterableDataset):
        def __len__(self):
            return 50

        def __iter__(self):
            for x, y in zip(*data().tensors, strict=True):
                if torch.rand(()) < 0.6:
                    yield x, y

    trainer = build()
    trainer.run(3, DataLoader(Filtering(), 8), DataLoader(Filtering(), 8))
    return trainer


class Changing(Sampler):
    """Another number of batches in every epoch, and code behind the last one."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.epoch = lengths, 0

    def __len__(self):
        return self.lengths[self.epoch]

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.epoch)
        for _ in range(self.lengths[self.epoch]):
            yield torch.randint(50, (8,), generator=generator).tolist()
        self.epoch += 1


@scenario
def another_number_of_batches_in_every_epoch():
    trainer = build()
    for lengths in ([3, 5, 7, 7], [7, 5, 3, 3]):
        train, valid = Changing(lengths), Changing(lengths)
        trainer.run(3, DataLoader(data(), batch_sampler=train), DataLoader(data(), batch_sampler=valid))
        trainer.note("epochs", train.epoch, valid.epoch)
    return trainer


@scenario
def sampler_with_set_epoch_is_left_alone():
    class Distributed(Sampler):
        epoch = 0

        def __len__(self):
            return 48

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            return iter(torch.randperm(48, generator=torch.Generator().manual_seed(self.epoch)).tolist())

    trainer = build()
    trainer.run(3, DataLoader(data(), 8, sampler=Distributed()))
    return trainer


@scenario
def loader_that_can_only_be_indexed():
    class Sequence:
        batch_size, dataset = 8, data()

        def __len__(self):
            return 6

        def __getitem__(self, i):
            if i >= 6:
                raise IndexError
            x, y = self.dataset.tensors
            return x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]

    trainer = build()
    trainer.run(2, Sequence(), Sequence())
    return trainer


@scenario
def empty_batches_come_as_none():
    class Nothing(Traced):
        def train_step(self, batch):
            self.note(repr(batch))
            return {"loss": self.model[0].weight.square().mean()}

        def test_step(self, batch):
            self.note(repr(batch))
            return {"loss": torch.zeros(())}

    trainer = build(Nothing)
    kinds = [[None], [], (), None]
    trainer.run(1, DataLoader(kinds, 1, collate_fn=lambda b: b[0]), DataLoader(kinds, 1, collate_fn=lambda b: b[0]))
    return trainer
