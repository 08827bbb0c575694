"""Phase warnings: epochs that have computed nothing of use."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier


class Broken(Classifier):
    """The loss of training is not finite in the steps whose numbers are in ``broken``."""

    broken = range(1, 100)
    value = math.nan

    def train_step(self, batch):
        step = super().train_step(batch)
        if self.progress_checker.get_step() in self.broken:
            step["loss"] = step["loss"] * 0.0 + self.value
        return step


def warned(function, *args):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        function(*args)
    return [str(w.message) for w in seen if w.category is UserWarning]


class Stream:
    """Yields batches in the first epochs, and none afterwards; it has no length."""

    def __init__(self, batches, n_epoch=0):
        self.batches, self.n_left = batches, n_epoch

    def __iter__(self):
        self.n_left -= 1
        return iter(self.batches if self.n_left >= 0 else [])


def test_an_epoch_of_no_batches_is_warned_of_once(make):
    empty = DataLoader(TensorDataset(torch.zeros(2, 10), torch.zeros(2).long()), batch_size=8, drop_last=True)
    trainer = make()
    (text,) = warned(trainer.run, 3, empty)
    assert text.startswith("A training epoch had no batches: the loader (DataLoader) gives none.")
    assert warned(trainer.run, 1, empty) == []
    (text,) = warned(make().inference, [])
    assert text.startswith("A test epoch had no batches: the loader (list)")


def test_a_stream_that_gives_nothing_too_and_epochs_with_batches_not(make, loader):
    batches = list(loader)
    (text,) = warned(make().run, 2, Stream(batches))
    assert "(Stream) gives none" in text
    assert warned(make().run, 2, Stream(batches, n_epoch=2), Stream(batches, n_epoch=2)) == []
    (text,) = warned(make().run, 1, batches, Stream(batches))
    assert text.startswith("A test epoch had no batches")


class Declared:
    """Has a length of three batches, and gives others."""

    def __init__(self, *batches):
        self.batches = batches

    def __len__(self):
        return 3

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("batches", [(), (None,), (None, None, None)])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_length_without_batches_and_batches_of_none_are_no_batches(make, loader, batches, has_length):
    empty = Declared(*batches) if has_length else Stream(batches, n_epoch=9)
    trainer = make()
    (text,) = warned(trainer.run, 2, empty)
    assert text.startswith(f"A training epoch had no batches: the loader ({type(empty).__name__}) gives none.")
    assert warned(trainer.run, 1, empty) == []
    for test in (lambda t: t.run(2, loader, empty), lambda t: t.inference(empty), lambda t: t.evaluate(empty)):
        (text,) = warned(test, make())
        assert text.startswith("A test epoch had no batches")
    with pytest.warns(UserWarning, match="A training epoch had no batches"):
        make().run_epoch(empty)


def test_one_batch_beside_batches_of_none_is_enough(make, loader):
    batch = next(iter(loader))
    assert warned(make().run, 2, Declared(None, batch, None), Declared(batch)) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_never_finite_in_an_epoch_is_warned_of_once(make, loader, value):
    class Own(Broken):
        pass

    Own.value = value
    (text,) = warned(make(Own).run, 3, loader)
    assert text.startswith("The training loss was nan or infinite in every step of epoch 1. Look for such values")


def test_a_single_finite_loss_is_enough(make, loader):
    class Own(Broken):
        broken = (1, 2)

    assert warned(make(Own).run, 2, loader) == []


def test_the_loss_of_a_test_counts_too(make, loader, valid_loader):
    class Own(Classifier):
        def test_step(self, batch):
            return {"loss": math.nan if self.progress_checker.get_epoch() == 2 else 1.0}

    (text,) = warned(make(Own).run, 3, loader, valid_loader)
    assert text.startswith("The test loss was nan or infinite in every step of epoch 2.")
