"""Neptune: a Lightning logger for neptune 1.x, with which Lightning's own fails, and a start of runs with a timeout."""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import socket
import threading
import urllib.parse
import urllib.request
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from .neptune_fields import FieldPaths

DEFAULT_ADDRESS = "https://app.neptune.ai"
PROBE_SECONDS = 3.0
START_SECONDS = 20.0
STOP_SECONDS = 10.0

# The class of Neptune's field for a value; bool comes first, because it is an int.
_FIELD_TYPES: dict[type, str] = {bool: "Boolean", int: "Integer", float: "Float", str: "String"}


class NeptuneLogger(Logger):
    """Log to a neptune run.

    Parameters
    ----------
    run : neptune.Run, optional
        A run that is active already; by default `start_run` starts one at its first use.
    prefix : str, optional
        The namespace of all logged values.
    **params
        Arguments of `start_run`.

    Examples
    --------
    >>> import lightning.pytorch as L
    >>> from zae_lightning.loggers import NeptuneLogger
    >>> logger = NeptuneLogger(project="workspace/project", mode="offline")
    >>> trainer = L.Trainer(logger=logger)  # doctest: +SKIP
    """

    def __init__(self, run: Any = None, *, prefix: str = "", **params: Any) -> None:
        super().__init__()
        self._run = run
        self._params = params
        self._prefix = f"{prefix}/" if prefix else ""
        self._paths: FieldPaths | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The neptune run, which has a method ``is_live()``."""
        if self._run is None:
            self._run = start_run(self._params)
        return self._run

    @property
    def name(self) -> str:
        """The name of the project."""
        return str(self._params.get("project_name") or self._params.get("project") or "neptune")

    @property
    def version(self) -> str:
        """The run's identifier within this process."""
        return "" if self._run is None else str(getattr(self._run, "_custom_id", None) or self._run._id)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append values to series of the same names, or of the nearest free name; see `FieldPaths`.

        Parameters
        ----------
        metrics : mapping of str to float
            The values. Neptune rejects ``nan`` and infinity in a series of numbers; they are appended as text to a
            series named ``<name>_not_finite``.
        step : int, optional
            The step of all values.

        Raises
        ------
        ValueError
            If Neptune rejects a value; the message names the key. The other values are logged.
        RuntimeError
            If the run is stopped.
        """
        self._write_all(metrics, "", lambda key, value: self._append(key, value, step))

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Store values under ``parameters``, each under its name or the nearest free one; see `FieldPaths`.

        Raises
        ------
        ValueError
            If Neptune rejects a value; the message names the key. The other values are stored.
        RuntimeError
            If the run is stopped.
        """
        self._write_all(vars(params) if isinstance(params, Namespace) else params, "parameters/", self._assign)

    def _append(self, key: str, value: float, step: int | None) -> None:
        run, paths = self.experiment, self._field_paths()
        if math.isfinite(value):
            run[paths.path(key, "FloatSeries")].append(float(value), step=step)
        else:
            run[paths.path(f"{key}_not_finite", "StringSeries")].append(str(value), step=step)

    def _assign(self, key: str, value: Any) -> None:
        plain = value if isinstance(value, (bool, int, float, str)) else str(value)
        field_type = next(name for cls, name in _FIELD_TYPES.items() if isinstance(plain, cls))
        self.experiment[self._field_paths().path(key, field_type)] = plain

    def _write_all(self, values: Mapping[str, Any], namespace: str, write: Callable[[str, Any], None]) -> None:
        run = self.experiment
        if run is not None and hasattr(run, "is_live") and not run.is_live():
            raise RuntimeError(
                f"the run {self.version} is stopped. Build a new trainer, which starts a new run; or let this trainer "
                "log to a run of yours: trainer.loggers.append(zae_lightning.loggers.NeptuneLogger(run))"
            )
        errors: list[tuple[str, Exception]] = []
        for key, value in values.items():
            try:
                write(f"{self._prefix}{namespace}{key}", value)
            except Exception as error:  # the other values are written
                errors.append((f"{self._prefix}{namespace}{key}", error))
        if errors:
            reasons = "; ".join(f"the key {key!r} ({type(error).__name__}: {error})" for key, error in errors)
            raise ValueError(f"Neptune rejects {reasons}") from errors[0][1]

    def _field_paths(self) -> FieldPaths:
        if self._paths is None:
            self._paths = FieldPaths(self._run)
        return self._paths

    @rank_zero_only
    def save(self) -> None:
        """Write an offline run to the disk; a run that is being sent is not waited for."""
        if self._run is not None and getattr(self._run, "is_offline", False) and self._run.is_live():
            self._run.wait()


def start_run(params: Mapping[str, Any]) -> Any:
    """Start a neptune run, offline if the service does not answer.

    Parameters
    ----------
    params : mapping
        ``project_name`` and ``api_tkn`` (or ``project`` and ``api_token``), and any further argument of
        ``neptune.init_run``, such as ``mode="offline"``. The token of a self-hosted service contains its address.

    Returns
    -------
    neptune.Run
        The run, which has a method ``is_live()``.

    Warns
    -----
    UserWarning
        If the service does not answer or rejects the run; the run is then recorded offline, and no value is lost.
    """
    import neptune

    arguments = dict(params)
    arguments["project"] = arguments.pop("project_name", None) or arguments.get("project")
    arguments["api_token"] = arguments.pop("api_tkn", None) or arguments.get("api_token")
    arguments = {key: value for key, value in arguments.items() if value is not None}
    mode = arguments.get("mode") or os.environ.get("NEPTUNE_MODE", "async")
    if mode not in ("offline", "debug"):
        token = arguments.get("api_token") or os.environ.get("NEPTUNE_API_TOKEN", "")
        try:
            _call_with_timeout(PROBE_SECONDS, lambda: _probe(_address(token)))
            run = _call_with_timeout(START_SECONDS, lambda: neptune.init_run(**arguments), discard=_stop)
            return ensure_is_live(run)
        except Exception as error:
            reason = str(error).strip().splitlines()
            warnings.warn(
                f"The Neptune service at {_address(token)} cannot be used ({type(error).__name__}"
                f"{': ' + reason[0] if reason else ''}). Neptune's hosted service ended in March 2026. The run is "
                "recorded offline, in .neptune/offline, and nothing is lost: zae_engine.trainer.addons."
                "read_offline_run reads it back. Alternatives: the token of a self-hosted Neptune, "
                'web_logger={"neptune": {"mode": "offline"}}, or WandBLoggerAddon.',
                stacklevel=2,
            )
        arguments["mode"] = "offline"
        arguments.setdefault("capture_hardware_metrics", False)  # an offline run does not need them
        arguments.pop("with_id", None)  # an offline run cannot continue a run of the service
        mode = "offline"
    return ensure_is_live(neptune.init_run(**arguments), is_offline=mode == "offline")


def active_runs() -> list[Any]:
    """Return no run: Neptune has no run of the whole process, which a trainer could continue."""
    return []


def claim(run: Any, active: list[Any]) -> bool:
    """Return that trainers stop a run."""
    return True


def closes_at_exit() -> bool:
    """Return false: Neptune stops open runs when the program ends, but waits for the service as long as it takes."""
    return False


def close_run(run: Any) -> None:
    """Stop a run; wait a few seconds at most for values that are not sent yet."""
    run.stop(seconds=STOP_SECONDS)


def logger_of(run: Any) -> NeptuneLogger:
    """Return the logger of a run."""
    return NeptuneLogger(run)


def ensure_is_live(run: Any, is_offline: bool = False) -> Any:
    """Return the run with a method ``is_live()``, which returns whether the run is active."""
    # `_state` is private to neptune, and zae-engine 0.7.6 reads it too;
    # tests/unit/zae_lightning/loggers/test_neptune.py fails if it changes.
    run.is_live = lambda: run._state.value != "stopped"
    run.is_offline = is_offline or getattr(run, "is_offline", False)
    return run


def _stop(run: Any) -> None:
    run.stop(seconds=0)


def _address(token: str) -> str:
    """Return the address in a token; the address of the hosted service if the token has none."""
    try:
        address = json.loads(base64.b64decode(token, validate=True))["api_address"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        return DEFAULT_ADDRESS
    return str(address)


def _probe(address: str) -> None:
    """Raise `OSError` if no server listens at an address. Behind a proxy this cannot be tested."""
    if urllib.request.getproxies():
        return
    parts = urllib.parse.urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS).close()


def _call_with_timeout(
    seconds: float, function: Callable[[], Any], discard: Callable[[Any], None] | None = None
) -> Any:
    """Return the result of a function, or raise `TimeoutError` after the given time; ``discard`` gets a late result."""
    outcome: dict[str, Any] = {}
    lock, has_timed_out = threading.Lock(), threading.Event()

    def call() -> None:
        try:
            result = function()
        except BaseException as error:
            outcome["error"] = error
            return
        with lock:
            is_late = has_timed_out.is_set()
            if not is_late:
                outcome["result"] = result
        if is_late and discard is not None:
            discard(result)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        if thread.is_alive() and "result" not in outcome:
            has_timed_out.set()
            raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    if "error" in outcome:
        raise outcome["error"]
    return outcome.get("result")
