"""In-memory data: batches, random numbers and errors are torch's; what is not exactly torch's is fetched by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from torch.utils.data._utils import collate
from zae_lightning.performance import in_memory
from zae_lightning.performance.in_memory import TensorFetcher, iterate


@pytest.fixture
def fetched(monkeypatch):
    """Counts the batches that are fetched in one piece, and those that torch fetches."""
    counts = {"in one piece": 0, "by torch": 0}
    original = TensorFetcher.fetch

    def fetch(self, indices):
        torchs, here = self._fetcher.fetch, []
        self._fetcher.fetch = lambda found: here.append(1) or torchs(found)
        try:
            return original(self, indices)
        finally:
            del self._fetcher.fetch
            counts["by torch" if here else "in one piece"] += 1

    monkeypatch.setattr(TensorFetcher, "fetch", fetch)
    return counts


def data(n=23):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, 4, generator=generator)
    return TensorDataset(x, torch.arange(n), torch.randn(n, generator=generator).to(torch.bfloat16), x > 0)


class Numbers(Sampler):
    """Draws other kinds of numbers than ``int``."""

    def __init__(self, kind):
        self.kind = kind

    def __iter__(self):
        return iter([self.kind(i) for i in (3, 1, 2, 0, 4)])

    def __len__(self):
        return 5


LOADERS = {
    "in order": lambda: DataLoader(data(), 5),
    "without the last": lambda: DataLoader(data(), 5, drop_last=True),
    "shuffled": lambda: DataLoader(data(), 5, shuffle=True),
    "with a generator": lambda: DataLoader(data(), 5, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "with replacement": lambda: DataLoader(data(), 4, sampler=RandomSampler(data(), True, 30)),
    "weighted": lambda: DataLoader(data(), 4, sampler=WeightedRandomSampler([1.0] * 23, 30)),
    "a split": lambda: DataLoader(random_split(data(), [15, 8])[0], 4, shuffle=True),
    "a part of a part": lambda: DataLoader(Subset(Subset(data(), list(range(3, 20))), [5, 3, 1, 0]), 3),
    "a part by range": lambda: DataLoader(Subset(data(), range(2, 20, 3)), 3),
    "batches of a sampler": lambda: DataLoader(data(), batch_sampler=BatchSampler(RandomSampler(data()), 6, True)),
    "one sample": lambda: DataLoader(data(1), 5),
    "one tensor": lambda: DataLoader(TensorDataset(torch.arange(7)), 2),
}
OF_TORCH = {
    "numbers of NumPy": lambda: DataLoader(data(), 2, sampler=Numbers(np.int64)),
    "tensors as numbers": lambda: DataLoader(data(), 2, sampler=Numbers(torch.tensor)),
    "numbers from the end": lambda: DataLoader(data(), 2, sampler=Numbers(lambda i: i - 5)),
    "true and false": lambda: DataLoader(data(), 2, sampler=Numbers(lambda i: i % 2 == 0)),
    "a part by an array": lambda: DataLoader(Subset(data(), np.arange(3, 9)), 2),
    "a transposed tensor": lambda: DataLoader(TensorDataset(torch.randn(4, 7, 3).transpose(0, 1)), 2),
    "channels last": lambda: DataLoader(
        TensorDataset(torch.randn(7, 3, 4, 4).to(memory_format=torch.channels_last)), 2
    ),
    "gradients": lambda: DataLoader(TensorDataset(torch.randn(7, 3, requires_grad=True)), 2),
    "a parameter": lambda: DataLoader(TensorDataset(torch.nn.Parameter(torch.randn(7, 3), False)), 2),
}


def same(one, other):
    assert type(one) is type(other) is list
    for a, b in zip(one, other, strict=True):
        assert type(a) is type(b)
        assert (a.dtype, a.shape, a.stride(), a.requires_grad) == (b.dtype, b.shape, b.stride(), b.requires_grad)
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", [*LOADERS, *OF_TORCH])
def test_batches_and_random_states_are_torchs(name, fetched):
    loader = {**LOADERS, **OF_TORCH}[name]()
    results = []
    for iterator in (iter, iterate):
        if loader.generator is not None:
            loader.generator.manual_seed(3)
        torch.manual_seed(0)
        batches = [list(iterator(loader)) for _ in range(2)]
        states = (
            torch.get_rng_state(),
            loader.generator.get_state() if loader.generator is not None else torch.tensor(0),
        )
        results.append((batches, states))
    (expected, states), (found, states_here) = results
    for epoch, epoch_here in zip(expected, found, strict=True):
        for one, other in zip(epoch, epoch_here, strict=True):
            same(one, other)
    assert all(torch.equal(one, other) for one, other in zip(states, states_here, strict=True))
    assert fetched["by torch" if name in LOADERS else "in one piece"] == 0
    assert sum(fetched.values()) == sum(map(len, found))


class Own(TensorDataset):
    pass


class Plain(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor(index), torch.zeros(2)


class OwnLoader(DataLoader):
    pass


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(Own(torch.arange(6)), 2),
        lambda: DataLoader(Plain(), 2),
        lambda: DataLoader(StackDataset(torch.arange(6), torch.zeros(6)), 2),
        lambda: DataLoader(data(6), 2, collate_fn=lambda samples: list(default_collate(samples))),
        lambda: DataLoader(data(6), batch_size=None),
        lambda: DataLoader(data(6), 2, num_workers=1),
        lambda: [[torch.arange(2)], [torch.arange(3)]],
    ],
    ids=["subclass", "dataset", "stacked", "collate", "no batches", "workers", "list"],
)
def test_what_is_not_exactly_torchs_is_fetched_by_torch(loader, fetched):
    for one, other in zip(iter(loader()), iterate(loader()), strict=True):
        same(list(one), list(other))
    assert fetched["in one piece"] == 0


def test_a_subclass_of_the_loader_with_torchs_iterator_is_fetched_in_one_piece(fetched):
    assert len(list(iterate(OwnLoader(data(6), 2)))) == 3
    assert fetched["in one piece"] == 3


def test_tensors_that_are_changed_meanwhile_are_read_anew():
    dataset = TensorDataset(torch.zeros(4))
    iterator = iterate(DataLoader(dataset, 2))
    first = next(iterator)[0]
    dataset.tensors[0].fill_(1.0)
    assert first.tolist() == [0.0, 0.0]  # a copy
    assert next(iterator)[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("positions", [[0, 99], [0, -99]])
def test_errors_are_torchs(positions):
    errors = []
    for iterator in (iter, iterate):
        with pytest.raises(IndexError) as info:
            list(iterator(DataLoader(data(4), batch_sampler=[positions])))
        errors.append(str(info.value))
    assert errors[0] == errors[1]


def test_an_empty_batch_is_torchs_error():
    with pytest.raises(IndexError):
        list(iterate(DataLoader(data(4), batch_sampler=[[]])))


def test_a_collation_that_the_user_registers_is_used(monkeypatch, fetched):
    monkeypatch.setitem(collate.default_collate_fn_map, torch.Tensor, lambda samples, **kwargs: "registered")
    assert list(iterate(DataLoader(TensorDataset(torch.arange(2)), 2))) == [["registered"]]
    assert fetched["in one piece"] == 0


def test_a_method_that_the_user_replaces_is_called(monkeypatch):
    monkeypatch.setattr(TensorDataset, "__getitem__", lambda self, index: (torch.tensor(7),))
    assert next(iterate(DataLoader(TensorDataset(torch.arange(2)), 2)))[0].tolist() == [7, 7]


def test_a_subset_random_sampler_of_plain_numbers(fetched):
    list(iterate(DataLoader(data(), 2, sampler=SubsetRandomSampler([1, 2, 5]))))
    assert fetched == {"in one piece": 2, "by torch": 0}


def test_a_run_fetches_in_one_piece_and_the_users_loader_stays(make, loader, valid_loader, fetched):
    before = vars(loader).copy()
    make().run(1, loader, valid_loader)
    assert fetched == {"in one piece": 5, "by torch": 0}
    assert vars(loader) == before
    assert type(iter(loader)._dataset_fetcher) is in_memory._MapDatasetFetcher


def test_the_private_names_of_torch_are_there():
    iterator = iter(DataLoader(data(4), 2))
    assert type(iterator) is in_memory._SingleProcessDataLoaderIter
    assert type(iterator._dataset_fetcher) is in_memory._MapDatasetFetcher
    fetcher = iterator._dataset_fetcher
    assert (fetcher.auto_collation, fetcher.collate_fn) == (True, default_collate)
    assert in_memory.default_collate_fn_map[torch.Tensor] is in_memory.collate_tensor_fn
