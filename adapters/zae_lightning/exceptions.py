"""Exceptions: the user's exceptions pass through Lightning's loops unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
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
        A `StopIteration`, or a `KeyboardInterrupt`. For the latter, Lightning calls ``sys.exit(1)``; in a thread it
        raises a `ValueError`, since it cannot set a signal handler there.
    """
    if isinstance(error, UserStopIteration):
        original, error.__cause__ = error.original, None
        del error.original  # or the two exceptions would refer to one another
        return original
    if not isinstance(error, (SystemExit, ValueError)) or not isinstance(error.__context__, KeyboardInterrupt):
        return None
    # Lightning exits from its outermost function, the user within its loops. The innermost frame of all does not
    # distinguish them, since wandb replaces sys.exit. The name is private to Lightning;
    # tests/unit/zae_lightning/test_exceptions.py fails if it changes.
    return error.__context__ if _innermost_lightning_function(error) == "_call_and_handle_interrupt" else None


def _innermost_lightning_function(error: BaseException) -> str:
    name, traceback = "", error.__traceback__
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        if frame.f_globals.get("__name__", "").startswith("lightning."):
            name = frame.f_code.co_name
    return name
