"""Nested: the values within lists, tuples and mappings of batches and states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(value: Any) -> Iterator[Any]:
    """Yield what is no list, tuple or mapping, in the order in which the containers hold it.

    Parameters
    ----------
    value : object
        Nested lists, tuples and mappings, or any other value, which is its only leaf.
    """
    if isinstance(value, Mapping):
        for element in value.values():
            yield from leaves(element)
    elif isinstance(value, (list, tuple)):
        for element in value:
            yield from leaves(element)
    else:
        yield value
