"""Loader wrapper: the batches of the user's loader, whatever its length says."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader
from zae_lightning.dataloader import DataLoaderWrapper, given_loaders


class Loader:
    """Yields some batches, and has another length or none."""

    def __init__(self, batches, length=None):
        self.batches, self.length, self.events = batches, length, []

    def __iter__(self):
        self.events.append("iter")
        for index in range(self.batches):
            self.events.append(f"{index} {torch.is_grad_enabled()}")
            yield index
        self.events.append("end")

    def __len__(self):
        if self.length is None:
            raise TypeError
        return self.length


class Stateful(Loader):
    """Counts its batches in a state."""

    def __init__(self, batches, length=None):
        super().__init__(batches, length)
        self.position = 0

    def __iter__(self):
        while self.position < self.batches:
            self.position += 1
            yield self.position - 1

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def test_iter_has_no_effect_until_the_first_batch():
    loader = Loader(2, 2)
    iterator = iter(DataLoaderWrapper(loader))
    iter(DataLoaderWrapper(loader))
    assert loader.events == []
    assert next(iterator) == 0
    assert loader.events == ["iter", "0 True"]


def test_a_loader_that_ends_early_is_padded_with_none():
    assert list(DataLoaderWrapper(Loader(2, 4))) == [0, 1, None, None]


@pytest.mark.parametrize("batches", [2, 3, 5])
def test_what_is_beyond_the_length_remains_with_the_code_behind_the_last_batch(batches):
    loader = Loader(batches, 2)
    wrapper = DataLoaderWrapper(loader)
    iterator = iter(wrapper)
    assert [next(iterator), next(iterator)] == [0, 1]
    assert list(wrapper.remaining()) == list(range(2, batches))
    assert loader.events[-1] == "end"
    assert list(wrapper.remaining()) == []


def test_nothing_remains_of_an_epoch_that_lightning_stopped_early():
    wrapper = DataLoaderWrapper(Loader(4, 3))
    next(iter(wrapper))
    assert list(wrapper.remaining()) == []


def test_nothing_remains_after_closing():
    wrapper = DataLoaderWrapper(Loader(4, 1))
    next(iter(wrapper))
    wrapper.close()
    assert list(wrapper.remaining()) == []


def test_the_length_is_the_loaders_or_none():
    assert len(DataLoaderWrapper(Loader(2, 7))) == 7
    with pytest.raises(TypeError, match="Loader has no length"):
        len(DataLoaderWrapper(Loader(2)))
    assert list(DataLoaderWrapper(Loader(2))) == [0, 1]


def test_batches_are_fetched_in_the_grad_mode_of_the_caller():
    loader = Loader(1, 1)
    wrapper = DataLoaderWrapper(loader)
    with torch.no_grad():
        assert list(wrapper) == [0]
        assert not torch.is_grad_enabled()
    assert loader.events[1] == "0 True"


def test_attributes_are_the_loaders_but_for_samplers(dataset):
    loader = DataLoader(dataset, 8, shuffle=True)
    wrapper = DataLoaderWrapper(loader)
    assert wrapper.dataset is dataset
    assert wrapper.batch_size == 8
    for name in ("sampler", "batch_sampler", "_iterator"):
        assert hasattr(loader, name)
        assert not hasattr(wrapper, name)
    assert not hasattr(DataLoaderWrapper(loader, hide_dataset=True), "dataset")


def test_skipped_batches_count_in_the_first_epoch_only():
    loader = Stateful(5, 5)
    loader.load_state_dict({"position": 2})
    wrapper = DataLoaderWrapper(loader)
    wrapper.skip(2, are_all=False)
    wrapper.begin_epoch()
    assert list(wrapper) == [2, 3, 4]
    loader.position = 0
    assert list(wrapper) == [0, 1, 2, 3, 4]


def test_a_finished_epoch_yields_nothing_until_the_next_begins():
    loader = Loader(2, 2)
    wrapper = DataLoaderWrapper(loader)
    wrapper.skip(2, are_all=True)
    assert list(wrapper) == []
    assert loader.events == []
    wrapper.begin_epoch()
    assert list(wrapper) == [0, 1]


def test_the_position_is_behind_the_batch_that_is_trained():
    with_length = DataLoaderWrapper(Stateful(3, 3))
    iterator = iter(with_length)
    next(iterator)
    assert with_length.position() == {"position": 1}

    without_length = DataLoaderWrapper(Stateful(3))
    iterator = iter(without_length)
    next(iterator)
    assert without_length.position() == {"position": 1}

    without_length = DataLoaderWrapper(Stateful(3))
    without_length.is_read_ahead = True
    iterator = iter(without_length)
    next(iterator)
    next(iterator)  # Lightning has fetched the second batch while it trains the first
    assert without_length.position() == {"position": 1}
    assert DataLoaderWrapper(Loader(3, 3)).position() is None


class FailingState(Loader):
    """Has the methods of a state, which fail."""

    def state_dict(self):
        raise AttributeError("dl_state_dict")

    def load_state_dict(self, state):
        raise AttributeError("dl_state_dict")


@pytest.mark.parametrize("length", [None, 3])
def test_a_state_that_fails_counts_as_none_and_costs_a_warning(length):
    wrapper = DataLoaderWrapper(FailingState(3, length))
    next(iter(wrapper))
    assert hasattr(wrapper, "state_dict")
    with pytest.warns(UserWarning, match=r"FailingState.state_dict failed \(AttributeError: dl_state_dict\)"):
        assert wrapper.position() is None
    assert not hasattr(wrapper, "state_dict")
    assert not hasattr(wrapper, "load_state_dict")


def test_the_state_for_a_checkpoint_of_lightning_is_the_loaders():
    loader = Stateful(3)
    wrapper = DataLoaderWrapper(loader)
    assert wrapper.state_dict() == {"position": 0}
    wrapper.load_state_dict({"position": 2})
    assert list(wrapper) == [2]
    assert DataLoaderWrapper(FailingState(3)).state_dict() is None


class Restarting:
    """Its ``__iter__`` starts again and returns itself."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        self.index = 0
        return self

    def __next__(self):
        if self.index == self.batches:
            raise StopIteration
        self.index += 1
        return self.index

    def __len__(self):
        return 2


def test_what_remains_of_a_loader_that_starts_again_is_what_it_has_left():
    wrapper = DataLoaderWrapper(Restarting(4))
    iterator = iter(wrapper)
    assert [next(iterator), next(iterator)] == [1, 2]
    assert list(wrapper.remaining()) == [3, 4]


class Once:
    """Its ``__iter__`` returns the same iterator in every epoch."""

    def __init__(self, batches, length):
        self.batches, self.length = (batch for batch in range(batches)), length

    def __iter__(self):
        return self.batches

    __len__ = Loader.__len__


@pytest.mark.parametrize("length", [None, 2])
def test_a_loader_that_is_used_up_is_warned_of_once(length, recwarn):
    wrapper = DataLoaderWrapper(Once(2, length))
    assert [batch for batch in wrapper if batch is not None] == [0, 1]
    assert not recwarn
    for _ in range(2):
        assert [batch for batch in wrapper if batch is not None] == []
    assert [str(warning.message)[:71] for warning in recwarn] == [
        "The loader (Once) gave no batch in this epoch, but 2 in an earlier one:"
    ]


@pytest.mark.parametrize("length", [None, 2])
def test_a_loader_that_starts_again_and_has_no_batch_is_not_warned_of(length, recwarn):
    loader = Loader(2, length)
    wrapper = DataLoaderWrapper(loader)
    list(wrapper)
    loader.batches = 0
    list(wrapper)
    assert not recwarn


def test_a_loader_that_never_had_a_batch_is_not_warned_of(recwarn):
    wrapper = DataLoaderWrapper(Loader(0))
    assert list(wrapper) == list(wrapper) == []
    assert not recwarn


def test_the_loaders_that_the_user_gave_are_found_behind_wrappers():
    loader, other = DataLoader(range(2)), DataLoader(range(4))
    wrapper, second = DataLoaderWrapper(loader), DataLoaderWrapper(other)
    assert given_loaders(wrapper) is loader
    assert given_loaders([wrapper, second]) == [loader, other]
    assert given_loaders({"a": wrapper}) == {"a": loader}
    assert given_loaders(None) is None


def test_samplers_are_hidden_unless_lightning_may_tell_them_the_epoch():
    loader = DataLoader(range(2))
    assert not hasattr(DataLoaderWrapper(loader), "sampler")
    assert DataLoaderWrapper(loader, hide_samplers=False).sampler is loader.sampler
