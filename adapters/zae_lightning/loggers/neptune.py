"""A Lightning logger for neptune 1.x (Lightning 2.6's own fails on construction), and a start that never waits long."""

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

DEFAULT_ADDRESS = "https://app.neptune.ai"
PROBE_SECONDS = 3.0
START_SECONDS = 20.0
STOP_SECONDS = 10.0


class NeptuneLogger(Logger):
    """Log to a neptune run.

    Parameters
    ----------
    run : neptune.Run, optional
        A run that has been started already; otherwise `start_run` starts one when it is first needed.
    prefix : str, optional
        A namespace for everything that is logged.
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

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The neptune run; it answers ``is_live()``."""
        if self._run is None:
            self._run = start_run(self._params)
        return self._run

    @property
    def name(self) -> str:
        """The project."""
        return str(self._params.get("project_name") or self._params.get("project") or "neptune")

    @property
    def version(self) -> str:
        """The run's identifier within this process."""
        return "" if self._run is None else str(getattr(self._run, "_custom_id", None) or self._run._id)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append values to series of the same names.

        Parameters
        ----------
        metrics : mapping of str to float
            The values. Neptune keeps no ``nan`` or infinity in a series of numbers; these go, as words, to a series
            named ``<name>_not_finite``.
        step : int, optional
            The step of all values.
        """
        errors: list[Exception] = []
        for key, value in metrics.items():
            path = self._prefix + key
            try:
                if math.isfinite(value):
                    self.experiment[path].append(float(value), step=step)
                else:
                    self.experiment[f"{path}_not_finite"].append(str(value), step=step)
            except Exception as error:  # a name that Neptune does not take; the others are logged
                errors.append(error)
        if errors:
            raise errors[0]

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Store values under ``parameters``."""
        values = vars(params) if isinstance(params, Namespace) else params
        for key, value in values.items():
            plain = value if isinstance(value, (bool, int, float, str)) else str(value)
            self.experiment[f"{self._prefix}parameters/{key}"] = plain

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
        ``neptune.init_run``, such as ``mode="offline"``. The address of a self-hosted service stands in its token.

    Returns
    -------
    neptune.Run
        The run; it answers ``is_live()``.

    Warns
    -----
    UserWarning
        Once, if the service does not answer or refuses the run: the run is recorded offline then, and nothing is lost.
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
            _within(PROBE_SECONDS, lambda: _probe(_address(token)))
            return ensure_is_live(_within(START_SECONDS, lambda: neptune.init_run(**arguments), discard=_stop))
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
        arguments.setdefault("capture_hardware_metrics", False)  # nobody watches them
        arguments.pop("with_id", None)  # a run of the service's, which cannot be gone on with
        mode = "offline"
    return ensure_is_live(neptune.init_run(**arguments), is_offline=mode == "offline")


def close_run(run: Any) -> None:
    """Stop a run, waiting a few seconds at most for what has not been sent."""
    run.stop(seconds=STOP_SECONDS)


def logger_of(run: Any) -> NeptuneLogger:
    """Return our logger around a run."""
    return NeptuneLogger(run)


def ensure_is_live(run: Any, is_offline: bool = False) -> Any:
    """Return the run with an ``is_live()`` that tells whether it goes on."""
    # `_state` is neptune's own; zae-engine 0.7.6 reads it too, and tests/zae_lightning/loggers fails if it changes.
    run.is_live = lambda: run._state.value != "stopped"
    run.is_offline = is_offline or getattr(run, "is_offline", False)
    return run


def _stop(run: Any) -> None:
    run.stop(seconds=0)


def _address(token: str) -> str:
    """Return the address that a token names, the hosted service's if it names none."""
    try:
        address = json.loads(base64.b64decode(token, validate=True))["api_address"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        return DEFAULT_ADDRESS
    return str(address)


def _probe(address: str) -> None:
    """Raise `OSError` if nobody listens at an address; behind a proxy there is no telling."""
    if urllib.request.getproxies():
        return
    parts = urllib.parse.urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS).close()


def _within(seconds: float, function: Callable[[], Any], discard: Callable[[Any], None] | None = None) -> Any:
    """Return what a function returns, or raise `TimeoutError` if it takes longer; a late result is discarded."""
    outcome: dict[str, Any] = {}
    lock, abandoned = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            outcome["error"] = error
            return
        with lock:
            late = abandoned.is_set()
            if not late:
                outcome["result"] = result
        if late and discard is not None:
            discard(result)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        if thread.is_alive() and "result" not in outcome:
            abandoned.set()
            raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    if "error" in outcome:
        raise outcome["error"]
    return outcome.get("result")
