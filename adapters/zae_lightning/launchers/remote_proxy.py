"""Remote proxy: the worker's access to loggers, runs and the screen of the user's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from ..protocol import TrainerProtocol

Send = Callable[..., None]


class RemoteProxy:
    """A proxy of an object in another process: its method calls are executed there, in order, and return None.

    Parameters
    ----------
    send : callable
        Sends the path of a call and its arguments.
    path : tuple
        The path of the object: its name in the other process, then names of attributes, and keys in one-tuples.
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
        """Call the object in the other process."""
        self._send(self._path, args, kwargs)


class RemoteRunProxy(RemoteProxy):
    """A proxy of a web logger's run, with a method ``is_live()``."""

    def is_live(self) -> bool:
        """Return true: the process of the run waits for this one."""
        return True


class RemoteLogger(Logger):
    """A Lightning logger that forwards all calls to a logger in another process.

    Parameters
    ----------
    remote : RemoteProxy
        The proxy of the logger.
    attributes : mapping
        Its `logger_attributes` at the start of the run.
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
        """The proxy of the logger's experiment; its methods return None."""
        return self._remote.experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Forward metrics."""
        self._remote.log_metrics(dict(metrics), step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Forward hyper-parameters."""
        self._remote.log_hyperparams(params, *args, **kwargs)

    def save(self) -> None:
        """Forward the request to write all values."""
        self._remote.save()

    def finalize(self, status: str) -> None:
        """Forward the end of a run."""
        self._remote.finalize(status)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_remote", "_attributes"):
            raise AttributeError(name)
        return getattr(self._remote, name)


def named_loggers(trainer: TrainerProtocol) -> dict[str, Any]:
    """Return the loggers and runs of a trainer, which stay in its process, by the names in the paths of proxies."""
    loggers = trainer.loggers if isinstance(trainer.loggers, list) else []
    runs = getattr(trainer, "web_logger", None)
    named = {f"loggers[{index}]": logger for index, logger in enumerate(loggers)}
    return {**named, **{f"web_logger[{name}]": run for name, run in (runs if isinstance(runs, dict) else {}).items()}}


def make_proxies(attributes: Mapping[str, Mapping[str, Any] | None], send: Send) -> dict[str, Any]:
    """Return a `RemoteLogger` for each logger, and a `RemoteRunProxy` for each run.

    Parameters
    ----------
    attributes : mapping
        The `logger_attributes` of each logger, and None for each run, by name.
    send : callable
        As for `RemoteProxy`.
    """
    return {
        name: RemoteRunProxy(send, (name,)) if values is None else RemoteLogger(RemoteProxy(send, (name,)), values)
        for name, values in attributes.items()
    }


def logger_attributes(logger: Any) -> dict[str, Any]:
    """Return the attributes of a logger that a `RemoteLogger` copies."""
    return {name: getattr(logger, name, None) for name in ("name", "version", "save_dir", "root_dir", "log_dir")}


def apply_call(target: Any, path: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Execute a call of a `RemoteProxy` in the process of the object."""
    for step in path:
        target = target[step[0]] if isinstance(step, tuple) else getattr(target, step)
    target(*args, **kwargs)
