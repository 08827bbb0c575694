"""Warnings: ignored within a block and in one thread; the filters of the user stay."""

from __future__ import annotations

import warnings

import pytest

from zae_engine._warnings import ignored_warnings


def messages(*texts):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with ignored_warnings(r"mine|\d"):
            for text in texts:
                warnings.warn(text, stacklevel=1)
        warnings.warn("mine, after it", stacklevel=1)
    return [str(warning.message) for warning in seen]


def test_the_messages_that_start_with_the_pattern_are_ignored_within_the_block():
    assert messages("mine", "7", "not mine") == ["not mine", "mine, after it"]


def test_an_exception_ends_the_block():
    with pytest.raises(ValueError, match="mine"), ignored_warnings(""):
        raise ValueError("mine")
    with pytest.warns(UserWarning, match="seen"):
        warnings.warn("seen", stacklevel=1)


def test_one_filter_is_added_once_and_comes_before_those_of_the_user():
    with warnings.catch_warnings():
        with ignored_warnings("a"), ignored_warnings("b"):
            warnings.simplefilter("error")
        filters = list(warnings.filters)
        with ignored_warnings("a"):
            warnings.warn("a", stacklevel=1)  # no error
            assert len(warnings.filters) == len(filters)
        filters = list(warnings.filters)
        with ignored_warnings("a"):
            assert list(warnings.filters) == filters


def test_what_python_has_shown_once_is_not_shown_again():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            warnings.warn("shown once", stacklevel=1)
            with ignored_warnings("other"):
                pass
    assert len(seen) == 1
