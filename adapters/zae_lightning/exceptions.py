"""Exceptions: the user's exceptions pass through Lightning's loops unchanged."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class UserStopIteration(BaseException):
    """Carries a `StopIteration` of the user through Lightning, whose loops would treat it as the end of the data."""

    def __init__(self, original: StopIteration) -> None:
        super().__init__()
        self.original = original


def propagate_stop_iteration(function: F) -> F:
    """Decorate a hook so that a `StopIteration` of the user's code passes through Lightning."""
    # Lightning inspects the signature of a step for every batch; a stored signature is fast.
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:
            raise UserStopIteration(error) from error

    return wrapper  # type: ignore[return-value]


def unwrap_user_exception(error: BaseException | None) -> BaseException | None:
    """Return the user's exception that Lightning has replaced by another one; None if it has not.

    Parameters
    ----------
    error : BaseException or None
        The exception that Lightning raised.

    Returns
    -------
    BaseException or None
        A `StopIteration`; a `KeyboardInterrupt`, for which Lightning calls ``sys.exit(1)`` (in a thread it raises a
        `ValueError`, since it cannot set a signal handler there); or the exception that ended the run, where Lightning
        has failed while it cleaned up after it.
    """
    if isinstance(error, UserStopIteration):
        original, error.__cause__ = error.original, None
        del error.original  # or the two exceptions would refer to one another
        return original
    if error is None:
        return None
    # Lightning handles the exceptions of a run in its outermost function. So the traceback of an exception that is
    # handled there starts in the frame of that function, which is also part of the traceback of what replaces it.
    # The name is private to Lightning; tests/unit/zae_lightning/test_exceptions.py fails if it changes.
    names, frames = _functions(error)
    if "on_exception" in names and "_call_callback_hooks" in names:  # a callback has raised this one
        return None
    handled = error.__context__
    while handled is not None and not _is_handled_in(handled, frames):
        handled = handled.__context__
    if isinstance(handled, UserStopIteration):
        handled = handled.original
    if isinstance(error, Exception) or (isinstance(error, SystemExit) and isinstance(handled, KeyboardInterrupt)):
        return handled
    return None


def _functions(error: BaseException) -> tuple[set[str], list[FrameType]]:
    """Return the names of the functions of a traceback, and the frames of Lightning's outermost function there."""
    traceback, names, frames = error.__traceback__, set(), []
    while traceback is not None:
        names.add(traceback.tb_frame.f_code.co_name)
        if traceback.tb_frame.f_code.co_name == "_call_and_handle_interrupt":
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return names, frames


def _is_handled_in(error: BaseException, frames: list[FrameType]) -> bool:
    return error.__traceback__ is not None and error.__traceback__.tb_frame in frames


@contextmanager
def keep_exception(error: BaseException | None) -> Iterator[None]:
    """Add an exception that is raised within the block to another one as a note, instead of replacing that one.

    Parameters
    ----------
    error : BaseException or None
        The exception that ends the run; with None, an exception of the block is raised.
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
            with suppress(Warning):  # where warnings are errors
                warnings.warn(note, stacklevel=3)
