"""Several loaders: which values are several loaders, and what they give as one."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader
from zae_lightning.dataloader import DataLoaderWrapper
from zae_lightning.several_loaders import (
    CombinedBatches,
    LoadersInTurn,
    WrappersInTurn,
    for_lightning,
    one_loader,
    wrapped,
)


def numbers(size, start=0, **options):
    return DataLoader(list(range(start, start + size)), **{"batch_size": 2, **options})


class Stream:
    batch_size = 2

    def __iter__(self):
        return iter([torch.zeros(2)])


class MovableBatch:
    batch_size = 2

    def __iter__(self):
        return iter([("x", 1)])

    def to(self, device):
        return self


def plain(batch):
    return {key: value.tolist() for key, value in batch.items()} if isinstance(batch, dict) else batch.tolist()


@pytest.mark.parametrize(
    "value",
    [
        [torch.zeros(2)],
        [(torch.zeros(2), torch.zeros(2))],
        [{"x": torch.zeros(2)}],
        [MovableBatch()],
        [],
        {},
        numbers(4),
        None,
        "text",
    ],
    ids=lambda value: type(value).__name__,
)
def test_batches_and_single_loaders_are_not_several(value):
    assert one_loader(value, is_training=True) is value
    assert one_loader(value, is_training=False) is value


class Cached(list):
    """A list of batches that is a loader; its ``__iter__`` draws random numbers, for instance."""

    def __iter__(self):
        raise AssertionError("the loader is started")


def test_a_list_with_an_iter_of_its_own_is_a_loader_and_is_not_started():
    value = Cached([numbers(4), numbers(4)])
    assert one_loader(value, is_training=True) is value


@pytest.mark.parametrize(
    ("mode", "batches"),
    [
        ("max_size_cycle", [([0, 1], [10, 11]), ([2, 3], [12, 13]), ([0, 1], [14, 15])]),
        ("min_size", [([0, 1], [10, 11]), ([2, 3], [12, 13])]),
    ],
)
def test_training_loaders_are_combined(mode, batches):
    loader = one_loader(CombinedLoader({"a": numbers(4), "b": numbers(6, 10)}, mode), is_training=True)
    assert len(loader) == len(batches)
    for _ in range(2):  # in each epoch
        assert [tuple(plain(batch).values()) for batch in loader] == batches


def test_a_list_cycles_the_shorter_loader():
    loader = one_loader([numbers(2), numbers(4, 10)], is_training=True)
    assert isinstance(loader, CombinedBatches)
    assert [[part.tolist() for part in batch] for batch in loader] == [[[0, 1], [10, 11]], [[0, 1], [12, 13]]]


def test_a_second_iteration_leaves_the_first_alone():
    loader = one_loader([numbers(4)], is_training=True)
    first = iter(loader)
    next(first)
    assert len(list(loader)) == 2
    assert next(first)[0].tolist() == [2, 3]


def test_validation_loaders_follow_one_another():
    loader = one_loader({"near": numbers(2), "far": numbers(4, 10)}, is_training=False)
    assert isinstance(loader, LoadersInTurn)
    assert len(loader) == 3
    assert [batch.tolist() for batch in loader] == [[0, 1], [10, 11], [12, 13]]


def test_a_length_is_missing_where_it_cannot_be_known():
    for loader in (
        one_loader([numbers(2), Stream()], is_training=False),
        one_loader([numbers(2), Stream()], is_training=True),
    ):
        with pytest.raises(TypeError):
            len(loader)
    assert len(CombinedBatches([numbers(4), numbers(2)], "sequential")) == 3


def test_validation_loaders_cannot_be_combined():
    with pytest.raises(ValueError, match="min_size"):
        one_loader(CombinedLoader([numbers(2)], "min_size"), is_training=False)


def test_lightning_receives_a_wrapper_for_each_loader():
    wrapper = wrapped(LoadersInTurn([numbers(2), numbers(4)]))
    assert isinstance(wrapper, WrappersInTurn)
    assert [len(part) for part in for_lightning(wrapper)] == [1, 2]
    assert list(wrapper.remaining()) == []
    wrapper.close()
    single = wrapped(numbers(2))
    assert isinstance(single, DataLoaderWrapper)
    assert for_lightning(single) is single
    assert for_lightning(None) is None
