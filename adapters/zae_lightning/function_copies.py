"""Function copies: functions of Lightning with other objects under some global names, so that no module is patched."""

from __future__ import annotations

import types
from typing import TypeVar

F = TypeVar("F")


def with_globals(function: F, **replaced: object) -> F:
    """Return a copy of a function that finds other objects under some of its global names.

    A patched module would change every use of Lightning in the program, in other threads too.

    Parameters
    ----------
    function : function
        A function or method of Lightning.
    **replaced
        The objects by name.

    Returns
    -------
    function
        The copy; the function itself if it has no such global name, as in a version of Lightning that this package
        does not know.
    """
    assert isinstance(function, types.FunctionType)
    if not set(replaced) <= set(function.__code__.co_names) & set(function.__globals__):
        return function
    copy = types.FunctionType(
        function.__code__,
        {**function.__globals__, **replaced},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__, copy.__annotations__ = function.__kwdefaults__, function.__annotations__
    copy.__doc__, copy.__qualname__ = function.__doc__, function.__qualname__
    return copy  # type: ignore[return-value]
