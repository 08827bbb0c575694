"""Loggers that fail while Lightning runs: a warning, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

_METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")


@contextmanager
def suppress_logger_errors(loggers: Iterable[Any], tell: Callable[[Any, str, Exception], None]) -> Iterator[None]:
    """Let no exception out of the methods by which Lightning uses loggers, within.

    The loggers stay the objects that they are, since callbacks ask for them by class; the methods are replaced on each,
    and given back.

    Parameters
    ----------
    loggers : iterable of Logger
        The loggers.
    tell : callable
        Called with the logger, the name of the method and the exception.
    """
    replaced = []
    try:
        for logger in loggers:
            for name in _METHODS:
                if hasattr(logger, name) and name not in vars(logger):
                    vars(logger)[name] = _quiet(logger, name, tell)
                    replaced.append((logger, name))
        yield
    finally:
        for logger, name in replaced:
            vars(logger).pop(name, None)


def _quiet(logger: Any, name: str, tell: Callable[[Any, str, Exception], None]) -> Callable[..., Any]:
    method = getattr(logger, name)

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            tell(logger, name, error)
            return None

    return call
