"""Exceptions: what ends a run never replaces the exception that ended it."""

from __future__ import annotations

import sys
import warnings

import pytest

from zae_engine.trainer.utilities.exceptions import keep_exception


def test_an_exception_without_another_one_is_raised():
    with pytest.raises(OSError, match="disk"), keep_exception(None):
        raise OSError("disk")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes")
def test_beside_another_one_it_is_a_note():
    error = KeyError("cause")
    with keep_exception(error):
        raise OSError("disk")
    assert error.__notes__ == ["The end of the run failed too (OSError: disk)."]


class WithoutNotes(Exception):
    """As in Python 3.10."""

    def __getattribute__(self, name):
        if name == "add_note":
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_without_notes_it_is_a_warning():
    with pytest.warns(UserWarning, match=r"failed too \(OSError: disk\)"), keep_exception(WithoutNotes()):
        raise OSError("disk")


def test_a_warning_that_is_an_error_replaces_nothing():
    with warnings.catch_warnings(), keep_exception(WithoutNotes()):
        warnings.simplefilter("error")
        raise OSError("disk")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_at_the_end_is_raised(interrupt):
    with pytest.raises(interrupt), keep_exception(KeyError("cause")):
        raise interrupt
