"""The error for broken conditions that zae-engine 0.7.6 checked with ``assert``."""

from __future__ import annotations


class ContractError(ValueError, AssertionError):
    """A value that cannot work, found before any harm is done.

    It is a `ValueError`, as such errors are everywhere else, and an `AssertionError` too, because 0.7.6 raised that in
    the same places and code written for it may catch it.
    """
