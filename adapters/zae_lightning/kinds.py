"""Object kinds: callbacks, loggers and strategies of Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

from .foreign_lightning import is_instance

__all__ = ["Callback", "CallbackLike", "Logger", "LoggerLike", "StrategyLike", "kind_of_object"]

_KINDS = {Callback: "callback", Logger: "logger", Strategy: "strategy"}


def kind_of_object(value: object) -> str | None:
    """Return the kind of a Lightning object, of ``lightning.pytorch`` or of ``pytorch_lightning``.

    Parameters
    ----------
    value : object
        Any object.

    Returns
    -------
    {"callback", "logger", "strategy"} or None
        None for other objects.
    """
    return next((kind for cls, kind in _KINDS.items() if is_instance(value, cls)), None)


class CallbackLike(Protocol):
    """A callback for type checkers, of ``lightning.pytorch`` or of ``pytorch_lightning``, which have no common base."""

    @property
    def state_key(self) -> str:
        """The key of the callback's state in a checkpoint."""

    @property
    def on_fit_start(self) -> Callable[..., Any]:
        """The hook that Lightning calls at the start of a fit."""


class LoggerLike(Protocol):
    """A logger for type checkers, of ``lightning.pytorch`` or of ``pytorch_lightning``."""

    @property
    def log_metrics(self) -> Callable[..., Any]:
        """The method that logs values."""

    @property
    def finalize(self) -> Callable[..., Any]:
        """The method that Lightning calls at the end of a run."""


class StrategyLike(Protocol):
    """A strategy for type checkers, of ``lightning.pytorch`` or of ``pytorch_lightning``."""

    @property
    def setup_environment(self) -> Callable[..., Any]:
        """The method that starts or joins the processes."""
