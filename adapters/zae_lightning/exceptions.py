"""Letting the user's exceptions out of Lightning's loops as they were raised."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class UserStopIteration(BaseException):
    """Carries a `StopIteration` out of a user's method, which Lightning's loops would take for the end of the data."""

    def __init__(self, original: StopIteration) -> None:
        super().__init__()
        self.original = original


def propagate_stop_iteration(function: F) -> F:
    """Let a `StopIteration` from the user's code pass through Lightning."""
    # Lightning looks at the signature of a step at every batch: have it ready.
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:
            raise UserStopIteration(error) from error

    return wrapper  # type: ignore[return-value]


def unwrap_user_exception(error: BaseException | None) -> BaseException | None:
    """Return the exception that the user's code raised, where Lightning made another one of it; else None.

    Parameters
    ----------
    error : BaseException or None
        What came out of Lightning.

    Returns
    -------
    BaseException or None
        A `StopIteration`, or the `KeyboardInterrupt` for which Lightning calls ``sys.exit(1)``, or, in a thread, fails
        to change a signal handler.
    """
    if isinstance(error, UserStopIteration):
        return error.original
    if not isinstance(error, (SystemExit, ValueError)) or not isinstance(error.__context__, KeyboardInterrupt):
        return None
    # Whose exit is it? Lightning's own comes from its outermost function; one of the user's from within its loops. (The
    # innermost frame does not tell: wandb replaces sys.exit.) The name is private to Lightning; the tests of interrupts
    # in tests/zae_lightning/test_runtime.py fail if it changes.
    return error.__context__ if _innermost_of_lightning(error) == "_call_and_handle_interrupt" else None


def _innermost_of_lightning(error: BaseException) -> str:
    name, traceback = "", error.__traceback__
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        if frame.f_globals.get("__name__", "").startswith("lightning."):
            name = frame.f_code.co_name
    return name
