"""Exceptions: the user's own comes out of Lightning, whatever Lightning makes of it."""

from __future__ import annotations

import inspect
import signal
import sys

import lightning.pytorch as L
import pytest
from lightning.pytorch.trainer import call
from zae_lightning.exceptions import UserStopIteration, keep_exception, propagate_stop_iteration, unwrap_user_exception


def raised_by(function):
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # any exception: the caller looks at it
        function()
    return caught.value


def test_stop_iteration_is_carried_and_unwrapped():
    original = StopIteration("mine")

    @propagate_stop_iteration
    def step(batch):
        raise original

    error = raised_by(lambda: step(None))
    assert isinstance(error, UserStopIteration)
    assert not isinstance(error, Exception)  # so that no handler of Lightning's catches it
    assert unwrap_user_exception(error) is original


def test_other_exceptions_and_results_pass_the_decorator():
    @propagate_stop_iteration
    def step(batch, batch_idx=0):
        return 1 / batch + batch_idx

    assert step(1, batch_idx=2) == 3
    assert isinstance(raised_by(lambda: step(0)), ZeroDivisionError)


def test_the_signature_of_a_step_is_kept():
    def step(self, batch, batch_idx):
        """Do it."""

    assert inspect.signature(propagate_stop_iteration(step)) == inspect.signature(lambda self, batch, batch_idx: None)


def test_exceptions_that_lightning_did_not_replace_have_no_original():
    def exit_from_an_interrupt():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    for error in (None, ValueError(), KeyboardInterrupt(), raised_by(exit_from_an_interrupt)):
        assert unwrap_user_exception(error) is None


@pytest.fixture
def sigint_handler():
    """Restore the handler, which Lightning leaves ignored after an interrupt."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("sigint_handler")
def test_lightning_still_exits_from_the_function_of_this_name(make, loader):
    assert callable(call._call_and_handle_interrupt)
    interrupt = KeyboardInterrupt("mine")

    def step(*args):
        raise interrupt

    trainer = make()
    trainer.run(1, loader)
    error = raised_by(lambda: call._call_and_handle_interrupt(trainer.lightning_trainer, step))
    assert isinstance(error, SystemExit)
    assert unwrap_user_exception(error) is interrupt


@pytest.mark.parametrize("later", [AttributeError("no state"), OSError("disk full")])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt("mine"), SystemExit(3)])
def test_the_exception_that_ended_the_run_is_the_original_of_one_that_the_cleaning_up_raised(error, later):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)

    def fit():
        raise error

    def teardown():
        raise later

    trainer._teardown = teardown
    handler = signal.getsignal(signal.SIGINT)
    try:
        found = raised_by(lambda: call._call_and_handle_interrupt(trainer, fit))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert found is later
    assert unwrap_user_exception(found) is error


def test_an_interrupt_during_the_cleaning_up_stays_one():
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)

    def fit():
        raise ZeroDivisionError

    def teardown():
        raise KeyboardInterrupt

    trainer._teardown = teardown
    assert unwrap_user_exception(raised_by(lambda: call._call_and_handle_interrupt(trainer, fit))) is None


def test_an_exception_at_the_end_is_a_note_of_another_one():
    error = ZeroDivisionError("mine")
    with keep_exception(error):
        raise OSError("disk full")
    with pytest.raises(OSError, match="disk full"), keep_exception(None):
        raise OSError("disk full")
