"""Exceptions: what ends a run never replaces the exception that ended it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def keep_exception(error: BaseException | None) -> Iterator[None]:
    """Add an exception that is raised within the block to another one as a note, instead of replacing that one.

    Parameters
    ----------
    error : BaseException or None
        The exception that ends the run; with None, an exception of the block is raised.

    Examples
    --------
    >>> try:
    ...     raise KeyError("the cause")
    ... except KeyError as error:
    ...     with keep_exception(error):
    ...         raise OSError("the disk is full")
    """
    try:
        yield
    except Exception as later:
        if error is None:
            raise
        note = f"The end of the run failed too ({type(later).__name__}: {later})."
        if hasattr(error, "add_note"):  # from Python 3.11
            error.add_note(note)
        else:
            with contextlib.suppress(Warning):  # where warnings are errors
                warnings.warn(note, stacklevel=3)
