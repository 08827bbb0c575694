"""Loggers and screens of the process that asked for a run, as the processes that run see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers.logger import Logger

Send = Callable[..., None]


class RemoteProxy:
    """An object in another process: method calls are carried out there, in order, and return nothing.

    Parameters
    ----------
    send : callable
        Takes the path of a call and its arguments.
    path : tuple
        How to get there, from a name that the other process knows: names of attributes, and keys in one-tuples.
    """

    def __init__(self, send: Send, path: tuple[Any, ...]) -> None:
        self._send, self._path = send, path

    def __getattr__(self, name: str) -> RemoteProxy:
        if name.startswith("__"):
            raise AttributeError(name)
        return RemoteProxy(self._send, (*self._path, name))

    def __getitem__(self, key: Any) -> RemoteProxy:
        return RemoteProxy(self._send, (*self._path, (key,)))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._send((*self._path, "__setitem__"), (key, value), {})

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Have it called there."""
        self._send(self._path, args, kwargs)


class RemoteRunProxy(RemoteProxy):
    """The run of a web logger, which answers ``is_live()``."""

    def is_live(self) -> bool:
        """Whether the run goes on; it does, as long as the process that has it waits for this one."""
        return True


class RemoteLogger(Logger):
    """A Lightning logger that passes everything on to one in another process.

    Parameters
    ----------
    remote : RemoteProxy
        The logger.
    attributes : mapping
        Its ``name``, ``version``, ``save_dir``, ``root_dir`` and ``log_dir``, as they were at the start.
    """

    def __init__(self, remote: RemoteProxy, attributes: Mapping[str, Any]) -> None:
        super().__init__()
        self._remote, self._attributes = remote, dict(attributes)

    @property
    def name(self) -> str | None:
        """The logger's name."""
        return self._attributes.get("name")

    @property
    def version(self) -> int | str | None:
        """The logger's version."""
        return self._attributes.get("version")

    @property
    def root_dir(self) -> str | None:
        """The logger's root folder."""
        return self._attributes.get("root_dir")

    @property
    def log_dir(self) -> str | None:
        """The logger's folder for this version."""
        return self._attributes.get("log_dir")

    @property
    def save_dir(self) -> str | None:
        """The logger's folder."""
        return self._attributes.get("save_dir")

    @property
    def experiment(self) -> Any:
        """What the logger logs to; its methods can be called, and return nothing."""
        return self._remote.experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass metrics on."""
        self._remote.log_metrics(dict(metrics), step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Pass hyper-parameters on."""
        self._remote.log_hyperparams(params, *args, **kwargs)

    def save(self) -> None:
        """Have the logger write out what it has."""
        self._remote.save()

    def finalize(self, status: str) -> None:
        """Tell the logger that a run is over."""
        self._remote.finalize(status)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_remote", "_attributes"):
            raise AttributeError(name)
        return getattr(self._remote, name)


def named_loggers(trainer: Any) -> dict[str, Any]:
    """Return the objects of a trainer that stay in their process, by the names that others know them under."""
    loggers = trainer.loggers if isinstance(trainer.loggers, list) else []
    runs = getattr(trainer, "web_logger", None)
    named = {f"loggers[{index}]": logger for index, logger in enumerate(loggers)}
    return {**named, **{f"web_logger[{name}]": run for name, run in (runs if isinstance(runs, dict) else {}).items()}}


def make_proxies(attributes: Mapping[str, Mapping[str, Any] | None], send: Send) -> dict[str, Any]:
    """Return a `RemoteLogger` or `RemoteRunProxy` for each of the names.

    Parameters
    ----------
    attributes : mapping
        `logger_attributes` each logger by its name; None for a run.
    send : callable
        As for `RemoteProxy`.
    """
    return {
        name: RemoteRunProxy(send, (name,)) if fact is None else RemoteLogger(RemoteProxy(send, (name,)), fact)
        for name, fact in attributes.items()
    }


def logger_attributes(logger: Any) -> dict[str, Any]:
    """Return what a `RemoteLogger` tells of a logger without asking it."""
    return {name: getattr(logger, name, None) for name in ("name", "version", "save_dir", "root_dir", "log_dir")}


def apply_call(target: Any, path: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call, in the process that has it, what a `RemoteProxy` stands for."""
    for part in path:
        target = target[part[0]] if isinstance(part, tuple) else getattr(target, part)
    target(*args, **kwargs)
