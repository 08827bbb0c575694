"""Step notes: where an exception of a step came from, and what the batch was."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
import torch

from tests.conftest import Classifier

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from Python 3.11 on")
BATCH = "tuple of Tensor[8, 10] float32, Tensor[8] int64"


class Failing(Classifier):
    """Fails in the second batch of the second epoch."""

    error: Exception = ZeroDivisionError("mine")
    mode_that_fails = "train"
    seen = 0

    def fail(self, at):
        self.seen += 1
        if self.mode == self.mode_that_fails and self.seen == at:
            raise self.error

    def train_step(self, batch):
        self.fail(5)
        return super().train_step(batch)

    def test_step(self, batch):
        self.fail(2)
        return super().test_step(batch)


def notes_of(function, *args):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any
        function(*args)
    return caught.value, caught.value.__notes__


def test_the_step_the_epoch_and_the_batch_are_told_once(make, loader):
    trainer = make(Failing)
    error, notes = notes_of(trainer.run, 3, loader)
    assert error is Failing.error
    assert type(error) is ZeroDivisionError
    assert error.args == ("mine",)
    assert notes == [f"in train_step, epoch 2, batch 2: {BATCH}"]
    del error.__notes__


def test_a_test_step_too_and_outside_of_a_run(make, loader, valid_loader):
    class FailingTest(Failing):
        mode_that_fails = "test"
        error = KeyError("x")

    batch = BATCH.replace("8", "12")
    assert notes_of(make(FailingTest).inference, valid_loader)[1] == [f"in test_step, batch 2: {batch}"]
    del FailingTest.error.__notes__
    trainer = make(FailingTest)
    trainer.seen = -3
    assert notes_of(trainer.run, 1, loader, valid_loader)[1] == [f"in test_step, epoch 1, batch 2: {batch}"]


def test_a_lone_batch_has_no_place(make, loader):
    trainer = make(Failing)
    trainer.seen = 4
    error, notes = notes_of(trainer.run_batch, next(iter(loader)))
    assert notes == [f"in train_step: {BATCH}"]
    del error.__notes__


def test_an_overridden_run_batch_is_named_unless_a_step_is(make, loader):
    class Own(Failing):
        error = ValueError("y")

        def run_batch(self, batch, **kwargs):
            if self.progress_checker.get_step() == 3:
                raise RuntimeError("own")
            super().run_batch(batch, **kwargs)

    trainer = make(Own)
    assert notes_of(trainer.run, 1, loader)[1] == [f"in run_batch, epoch 1, batch 3: {BATCH.replace('tuple', 'list')}"]
    trainer = make(Own)
    trainer.seen = 3
    assert notes_of(trainer.run, 1, loader)[1] == [f"in train_step, epoch 1, batch 2: {BATCH}"]


def test_a_stop_iteration_and_an_exception_without_notes_pass(make, loader):
    class Closed(Exception):
        def add_note(self, note):
            raise AttributeError("closed")

    class Own(Failing):
        error = StopIteration("mine")

    assert notes_of(make(Own).run, 3, loader)[1] == [f"in train_step, epoch 2, batch 2: {BATCH}"]
    Own.error = Closed("mine")
    with pytest.raises(Closed, match="mine"):
        make(Own).run(3, loader)


def test_the_note_keeps_no_tensor_alive(make):
    class Own(Failing):
        error = KeyError("mine")

    batch = (torch.randn(8, 10), torch.zeros(8, dtype=torch.int64))
    kept = weakref.ref(batch[0])
    trainer = make(Own)
    trainer.seen = 4
    error, _ = notes_of(trainer.run_batch, batch)
    error.__traceback__ = None
    del batch
    gc.collect()
    assert kept() is None
    assert error.__notes__
