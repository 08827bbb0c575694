"""Loaders: copies with another batch size or in order, the length of a loader, and whether it is empty."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from zae_engine.trainer.data.loaders import in_order, is_nonempty, length, with_batch_size

DATASET = TensorDataset(torch.arange(10))


class Own(DataLoader):
    """A user's subclass with an attribute and a method."""

    extra = None

    def first(self):
        return next(iter(self))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Lengthless:
    def __iter__(self):
        return iter(())

    def __len__(self):
        raise NotImplementedError


def sizes(loader):
    return [len(batch) for (batch,) in loader]


@pytest.mark.parametrize(("drop_last", "expected"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_a_copy_has_the_new_batch_size_and_the_original_keeps_its_own(drop_last, expected):
    loader = DataLoader(DATASET, 5, drop_last=drop_last)
    changed = with_batch_size(loader, 4)
    assert sizes(changed) == expected
    assert (changed.batch_size, loader.batch_size) == (4, 5)
    assert sizes(loader) == [5, 5]


def test_a_copy_keeps_what_a_subclass_adds():
    loader = Own(DATASET, 5, shuffle=True)
    loader.extra = "kept"
    for copied in (with_batch_size(loader, 2), in_order(loader)):
        assert type(copied) is Own
        assert copied.extra == "kept"
        assert copied.first()[0].tolist()


def test_a_copy_draws_from_the_sampler_of_the_original():
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(DATASET, 5, shuffle=True, generator=generator)
    state = generator.get_state()
    drawn = torch.cat([batch for (batch,) in loader])
    generator.set_state(state)
    assert torch.equal(torch.cat([batch for (batch,) in with_batch_size(loader, 3)]), drawn)


@pytest.mark.parametrize(
    "loader",
    [[1, 2], DataLoader(DATASET, batch_sampler=BatchSampler(SequentialSampler(DATASET), 2, False)).__iter__()],
)
def test_the_batch_size_of_another_loader_cannot_change(loader):
    with pytest.raises(TypeError, match=r"The batch size of a .* cannot be changed"):
        with_batch_size(loader, 2)


def test_the_batch_size_of_a_users_batch_sampler_cannot_change():
    class Sampler(BatchSampler):
        pass

    loader = DataLoader(DATASET, batch_sampler=Sampler(SequentialSampler(DATASET), 2, False))
    with pytest.raises(TypeError, match="batch_sampler"):
        with_batch_size(loader, 2)
    assert in_order(loader) is loader


def test_a_shuffled_loader_is_copied_in_order_and_stays_shuffled_itself():
    loader = DataLoader(DATASET, 4, shuffle=True)
    assert torch.cat([batch for (batch,) in in_order(loader)]).tolist() == list(range(10))
    assert not isinstance(loader.sampler, SequentialSampler)
    batches = [1, 2]
    assert in_order(batches) is batches


def test_a_length_is_none_where_there_is_none():
    assert length(DataLoader(DATASET, 4)) == 3
    assert length([]) == 0
    for value in (iter(()), None, Lengthless(), DataLoader(Stream())):
        assert length(value) is None


def test_a_loader_without_a_length_counts_as_not_empty():
    assert is_nonempty(DataLoader(DATASET, 4))
    assert is_nonempty(DataLoader(Stream()))
    assert is_nonempty(Lengthless())
    assert not is_nonempty([])
    assert not is_nonempty(None)
    assert not is_nonempty(DataLoader(TensorDataset(torch.ones(3)), 4, drop_last=True))
