"""Error guard: an exception of a logger becomes a warning, and the run continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

_METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")


@contextmanager
def suppress_logger_errors(loggers: Iterable[Any], report: Callable[[Any, str, Exception], None]) -> Iterator[None]:
    """Report the exceptions of the methods by which Lightning uses loggers, instead of raising them.

    The loggers keep their identity and class, which callbacks depend on. Their methods are replaced within the context
    and restored after it.

    Parameters
    ----------
    loggers : iterable of Logger
        The loggers.
    report : callable
        Receives the logger, the name of the method and the exception.
    """
    replaced = []
    try:
        for logger in loggers:
            for name in _METHODS:
                if hasattr(logger, name) and name not in vars(logger):
                    vars(logger)[name] = _guarded(logger, name, report)
                    replaced.append((logger, name))
        yield
    finally:
        for logger, name in replaced:
            vars(logger).pop(name, None)


def _guarded(logger: Any, name: str, report: Callable[[Any, str, Exception], None]) -> Callable[..., Any]:
    method = getattr(logger, name)

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            report(logger, name, error)
            return None

    return call
