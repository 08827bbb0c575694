"""Errors: the error for conditions that zae-engine 0.7.6 checked with ``assert``."""

from __future__ import annotations


class ContractError(ValueError, AssertionError):
    """An invalid value.

    It is a `ValueError`, and an `AssertionError` too, since 0.7.6 raised that and existing code may catch it.
    """
