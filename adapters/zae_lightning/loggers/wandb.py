"""Weights & Biases: the run of a trainer, opened or continued, and Lightning's logger of that run."""

from __future__ import annotations

import sys
import threading
import weakref
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from .wandb_settings import apply_to_active_run, asks_for_new_run, requested_settings

_opened_runs: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_lock = threading.RLock()
_exit_hooks: Any = None


class WandbRunLogger(WandbLogger):
    """Lightning's logger of a run that is open already.

    Parameters
    ----------
    run : wandb.Run
        The run.
    """

    def __init__(self, run: Any) -> None:
        super().__init__(experiment=run)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values.

        Raises
        ------
        RuntimeError
            If the run is finished.
        """
        self._require_active()
        super().log_metrics(metrics, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Add values to the run's configuration. A key that somebody else has set keeps its value.

        Raises
        ------
        RuntimeError
            If the run is finished.
        """
        self._require_active()
        values = vars(params) if isinstance(params, Namespace) else params
        run = self.experiment
        if not hasattr(run, "_zae_config_keys"):
            object.__setattr__(run, "_zae_config_keys", set())  # a run rejects new attributes, except through object
        values = {key: value for key, value in values.items() if key in run._zae_config_keys or key not in run.config}
        run._zae_config_keys.update(values)
        super().log_hyperparams(values)

    def _require_active(self) -> None:
        run = self.experiment
        if not _is_disabled(run) and getattr(run, "_is_finished", False):
            raise RuntimeError(
                f"the run {_title(run)} is finished. Build a new trainer, which opens a new run; or open one with "
                "wandb.init() and let this trainer log to it: "
                "trainer.loggers.append(lightning.pytorch.loggers.WandbLogger())"
            )


def start_run(params: Mapping[str, Any]) -> Any:
    """Open a run, or return an active one to continue; it has a method ``is_live()``.

    A run is continued if it is active in this process and ``params`` name it by ``id``, or if it is ``wandb.run`` and
    the user has opened it. Otherwise a new run is opened beside those that are active. ``reinit`` overrides this:
    ``"create_new"`` and ``"finish_previous"`` open a new run, ``"return_previous"`` continues the latest.

    Parameters
    ----------
    params : mapping
        Arguments of ``wandb.init``. An active run receives ``config``.

    Returns
    -------
    wandb.Run
        The run.

    Warns
    -----
    UserWarning
        If an active run is continued which has other settings than ``params``; the message names them.
    """
    import wandb

    requested = requested_settings(params)
    with _lock:  # of two threads that call `wandb.init` at once, the second would get the run of the first
        active = active_runs()
        run = _run_to_continue(requested, active)
        if run is not None:
            apply_to_active_run(run, params, requested, _title(run))
            return ensure_is_live(run)
        arguments = dict(params)
        if requested.get("reinit") is None and active:
            arguments["reinit"] = "create_new"
        previous = wandb.run
        run = ensure_is_live(wandb.init(**arguments))
        if _is_disabled(run) and previous is not None and not (_is_disabled(previous) and _is_opened(previous)):
            set_global_run(previous, previous.config)  # a disabled run takes the place of an active one
        _opened_runs[id(run)] = run
    return run


def active_runs() -> list[Any]:
    """Return the runs of this process that are not finished, the latest last; disabled runs are none."""
    import wandb
    from wandb.sdk import wandb_setup

    # The list is private to wandb; tests/unit/zae_lightning/loggers/test_wandb.py fails if it changes. It contains
    # runs that are not `wandb.run`, because they were opened with ``reinit="create_new"``.
    known = list(getattr(wandb_setup.singleton(), "_active_runs", []))
    known = [*(run for run in list(_opened_runs.values()) if run not in known), *known]
    if wandb.run is not None and wandb.run not in known:
        known.append(wandb.run)
    return [run for run in known if not getattr(run, "_is_finished", False) and not _is_disabled(run)]


def claim(run: Any, active: list[Any]) -> bool:
    """Return whether trainers finish a run, which the user's ``init_wandb`` may have opened; note that they do.

    Parameters
    ----------
    run : wandb.Run
        The run.
    active : list
        `active_runs` before it was opened or continued: the user finishes a run that the user has opened.
    """
    is_the_users = any(run is other for other in active) and not _is_opened(run)
    if not is_the_users:
        _opened_runs[id(run)] = run
    return not is_the_users


def ensure_is_live(run: Any) -> Any:
    """Return the run with a method ``is_live()``, which returns whether the run is active.

    A disabled run, which records nothing, is active until it is finished.
    """
    if callable(getattr(run, "is_live", None)):
        return run
    reference = weakref.ref(run)
    # A run rejects new attributes, except through object. `_is_finished` is private to wandb;
    # tests/unit/zae_lightning/loggers/test_wandb.py fails if it changes.
    if not _is_disabled(run):
        object.__setattr__(run, "is_live", lambda: not getattr(reference(), "_is_finished", False))
        return run
    is_finished = threading.Event()
    object.__setattr__(run, "is_live", lambda: not is_finished.is_set())
    for name in ("finish", "_finish"):  # a with statement calls the second; neither leaves a trace on a disabled run
        object.__setattr__(run, name, _finish_with(reference, getattr(type(run), name), is_finished))
    return run


def _finish_with(reference: Any, method: Any, is_finished: threading.Event) -> Any:
    def finish(*args: Any, **kwargs: Any) -> None:
        is_finished.set()
        method(reference(), *args, **kwargs)

    return finish


def logger_of(run: Any) -> WandbLogger:
    """Return Lightning's logger of a run."""
    return WandbRunLogger(run)


def closes_at_exit() -> bool:
    """Return whether wandb finishes open runs when the program ends, with the program's exit code.

    It does where this process has started wandb's service. A program that another program with a run has started uses
    the service of that one, which would keep the run open as long as the other program lives.
    """
    global _exit_hooks
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib.exit_hooks import ExitHooks

    # Private to wandb; tests/unit/trainer/addons/test_web_logger.py fails if it changes.
    connection = getattr(wandb_setup.singleton(), "_connection", None)
    if connection is None or connection._proc is not None:
        return True
    if _exit_hooks is None:
        _exit_hooks = ExitHooks()
        _exit_hooks.hook()
    return False


def close_run(run: Any) -> None:
    """Finish a run, and let ``wandb.log`` reach the latest of the other runs that trainers have opened."""
    import wandb

    if _is_program_over():
        if not closes_at_exit():
            run.finish(exit_code=_exit_hooks.exit_code)
        return
    run.finish()
    others = [other for other in active_runs() if _is_opened(other)]
    if wandb.run is None and others:
        set_global_run(others[-1], others[-1].config)


def set_global_run(run: Any, config: Any = None) -> None:
    """Let ``wandb.run``, ``wandb.log`` and other functions of the module ``wandb`` use a run.

    Parameters
    ----------
    run : wandb.Run or RemoteRunProxy
        The run. A proxy takes the functions whose result nobody needs.
    config : wandb.Config, optional
        What ``wandb.config`` is; by default it stays.
    """
    # Private to wandb; tests/unit/zae_lightning/loggers/test_wandb.py fails if it changes.
    from wandb.sdk.lib import module

    names = ["log", "summary", "define_metric", "alert", "log_artifact", "log_model", "save"]
    if config is not None:
        names += ["use_artifact", "watch", "unwatch", "mark_preempting", "use_model", "link_model"]
    module.set_global(run=run, config=config, **{name: getattr(run, name) for name in names})


def _run_to_continue(requested: Mapping[str, Any], active: list[Any]) -> Any:
    """Return the active run that a trainer continues, None if it opens one."""
    import wandb

    if asks_for_new_run(requested) or not active:
        return None
    if requested.get("reinit") in (False, "return_previous"):
        return active[-1]
    if requested.get("run_id") is not None:
        return next((run for run in active if run.id == requested["run_id"]), None)
    is_the_users = wandb.run in active and not _is_opened(wandb.run)
    return wandb.run if is_the_users else None


def _is_opened(run: Any) -> bool:
    """Whether a trainer has opened a run."""
    return _opened_runs.get(id(run)) is run


def _is_disabled(run: Any) -> bool:
    """Whether a run records nothing: ``mode="disabled"``, or ``WANDB_MODE=disabled``."""
    return getattr(run, "disabled", False) is True


def _title(run: Any) -> str:
    name = getattr(run, "name", None)
    return f"{run.id} ({name!r})" if name else str(run.id)


def _is_program_over() -> bool:
    """Whether the program's code has ended: a finalizer or an exit hook runs, and no code of the program calls it.

    Python frees what ``main()`` held after ``sys.exit(3)`` in it, before the exit hooks. wandb's hook knows the exit
    code; a run that is finished by a call has the code 0.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code is weakref.finalize.__call__.__code__ or frame.f_code.co_name == "close_at_exit"
