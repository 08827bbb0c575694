"""WandBLoggerAddon and NeptuneLoggerAddon: logging to Weights & Biases and to Neptune."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..distributed.world import is_rank_zero
from ..utilities.import_guard import guarded_import
from . import web_runs
from .compose import with_mixin
from .core import AddOnBase, T
from .neptune_offline import read_offline_run

if TYPE_CHECKING:
    from zae_lightning.kinds import Logger

__all__ = ["NeptuneLoggerAddon", "WandBLoggerAddon", "read_offline_run"]

WebLoggerParams = Mapping[str, Mapping[str, Any]]


class WandBLoggerAddon(AddOnBase):
    """Log to Weights & Biases, through Lightning's ``WandbLogger``.

    The trainer takes one more keyword, ``web_logger``, a dict whose ``"wandb"`` entry goes to ``wandb.init``.
    ``mode="offline"`` and ``mode="disabled"`` need neither network nor key.

    The run opens with the trainer. It finishes by ``trainer.web_logger["wandb"].finish()``, when the trainer is
    deleted, or when the program ends, with the program's exit code. Each trainer has its own run, with two exceptions:

    - A run that the user has opened, a sweep's trial or ``wandb.init()`` before the trainer, is continued, and the user
      finishes it. ``config`` is added to it; a warning names other settings that it does not have.
    - A run of this process that the dict names by ``id`` is continued. If it belongs to another trainer, both share it,
      and it finishes with the last of them.

    ``"reinit": "create_new"`` opens a new run all the same. A disabled run is never continued.

    ``wandb.log`` in a step reaches ``wandb.run``: the run of the user, or of the first trainer. In several processes it
    reaches the trainer's run on rank 0, and does nothing on other ranks. ``trainer.web_logger["wandb"].log`` always
    reaches the trainer's run.

    Every training step is logged under its own names with the learning rate as ``lr``, every test epoch as means under
    ``test_<name>``; the step number continues over several runs. The trainer's hyper-parameters are logged once, but
    for those that the configuration has already. After the run is finished, a warning says what to do, and training
    continues. Copies of a trainer, by pickle or copy, have no run.

    Raises
    ------
    ModuleNotFoundError
        On construction of the trainer, if wandb is not installed.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import WandBLoggerAddon
    >>> MyTrainer = Trainer.add_on(WandBLoggerAddon)
    >>> trainer = MyTrainer(
    ...     model=my_model,
    ...     device='cuda',
    ...     optimizer=my_optimizer,
    ...     scheduler=my_scheduler,
    ...     web_logger={"wandb": {"project": "my_project"}}
    ... )  # doctest: +SKIP
    >>> trainer.web_logger["wandb"].is_live()  # doctest: +SKIP
    True
    """

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` with a Weights & Biases run."""
        return with_mixin(base_cls, WandBLoggerMixin, "WandBLogger")


class NeptuneLoggerAddon(AddOnBase):
    """Log to Neptune, through a Lightning logger of this package.

    The trainer takes one more keyword, ``web_logger``, a dict with an entry ``"neptune"``: ``project_name``,
    ``api_tkn`` and any further argument of ``neptune.init_run``, such as ``mode="offline"``. What is logged, and when
    the run ends, is as with `WandBLoggerAddon`; each trainer starts a run.

    Neptune holds no field ``a`` beside a field ``a/b``, and values of one type in a field. A key whose path is taken
    gets an underscore at the part in question: ``a/b`` beside ``a`` is logged under ``a_/b``, and ``a`` beside ``a/b``
    under ``a_``. A warning names both keys.

    Neptune's hosted service ended in March 2026. If the service of the token does not answer, one warning says so
    and the run is recorded offline; `read_offline_run` reads such a run. Training neither fails nor waits.

    Raises
    ------
    ModuleNotFoundError
        On construction of the trainer, if neptune is not installed.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import NeptuneLoggerAddon
    >>> MyTrainer = Trainer.add_on(NeptuneLoggerAddon)
    >>> trainer = MyTrainer(
    ...     model=my_model,
    ...     device='cuda',
    ...     optimizer=my_optimizer,
    ...     scheduler=my_scheduler,
    ...     web_logger={"neptune": {"project_name": "my_workspace/my_project", "api_tkn": "your_api_token"}}
    ... )  # doctest: +SKIP
    """

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` with a Neptune run."""
        return with_mixin(base_cls, NeptuneLoggerMixin, "NeptuneLogger")


class WebLoggerMixin:
    """The part of a trainer that both add-ons need."""

    loggers: list[Logger]

    def __init__(self, *args: Any, web_logger: WebLoggerParams | None = None, **kwargs: Any) -> None:
        self.web_logger: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    def _open_web_logger(self, name: str, start: Callable[[dict[str, Any]], Any], params: dict[str, Any]) -> None:
        """Open a run, and log to it; a trainer that cannot be built closes the runs that it has opened so far."""
        adapter = _adapter(name)
        active = adapter.active_runs()
        try:
            run = start(params)
            if adapter.claim(run, active):
                web_runs.hold(self, run, adapter.close_run, closes_at_exit=adapter.closes_at_exit())
            self.web_logger[name] = adapter.ensure_is_live(run)
            logger = adapter.logger_of(run)
        except BaseException:
            web_runs.release_all(self)
            raise
        logger._zae_run = run
        self.loggers.append(logger)
        gc.collect()  # exceptions that the tracker has caught, and whose frames hold this trainer

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the runs: they belong to this process."""
        parent: Any = super()
        state: dict[str, Any] = parent.__getstate__()
        runs = list(state["web_logger"].values())
        loggers = [
            logger
            for logger in state["loggers"]
            if not any(getattr(logger, "__dict__", {}).get("_zae_run") is run for run in runs)
        ]
        return {**state, "web_logger": {}, "loggers": loggers}


class WandBLoggerMixin(WebLoggerMixin):
    """The part of a trainer that `WandBLoggerAddon` adds."""

    _zae_add_on = "WandBLoggerAddon"

    def __init__(self, *args: Any, web_logger: WebLoggerParams | None = None, **kwargs: Any) -> None:
        params = _own_params("wandb", web_logger)
        super().__init__(*args, **_for_others(web_logger), **kwargs)
        if params is not None:
            _require("wandb", "WandBLoggerAddon")
            self._open_web_logger("wandb", self.init_wandb, _of_rank(self, params, "disabled"))

    def init_wandb(self, params: dict[str, Any]) -> Any:
        """Open or continue, and return, the run; may be overridden."""
        return _adapter("wandb").start_run(params)


class NeptuneLoggerMixin(WebLoggerMixin):
    """The part of a trainer that `NeptuneLoggerAddon` adds."""

    _zae_add_on = "NeptuneLoggerAddon"

    def __init__(self, *args: Any, web_logger: WebLoggerParams | None = None, **kwargs: Any) -> None:
        params = _own_params("neptune", web_logger)
        super().__init__(*args, **_for_others(web_logger), **kwargs)
        if params is not None:
            _require("neptune", "NeptuneLoggerAddon")
            self._open_web_logger("neptune", self.init_neptune, _of_rank(self, params, "debug"))

    def init_neptune(self, params: dict[str, Any]) -> Any:
        """Start and return the run; may be overridden."""
        return _adapter("neptune").start_run(params)

    @staticmethod
    def add_state_checker(*runs: Any) -> None:
        """Give runs an ``is_live()``; overrides of ``init_neptune`` written for 0.7.6 call it."""
        for run in runs:
            _adapter("neptune").ensure_is_live(run)


def _for_others(web_logger: Any) -> dict[str, Any]:
    """Return the keyword for the add-ons within; nothing if the user gives none."""
    return {} if web_logger is None else {"web_logger": web_logger}


def _own_params(name: str, web_logger: Any) -> dict[str, Any] | None:
    """Return an add-on's entry of ``web_logger``, None without; other entries are for the add-ons within."""
    if web_logger is None:
        return None
    if not isinstance(web_logger, Mapping) or not isinstance(web_logger.get(name, {}), Mapping):
        raise TypeError(
            f"web_logger={web_logger!r} is no dict of dicts; give the settings under the logger's name, "
            f'web_logger={{"{name}": {{...}}}}.'
        )
    return dict(web_logger[name]) if name in web_logger else None


def _of_rank(trainer: Any, params: dict[str, Any], silent_mode: str) -> dict[str, Any]:
    """Return the parameters of a run; one that records nothing on ranks other than the first."""
    return params if is_rank_zero(trainer._zae_state.process.world) else {**params, "mode": silent_mode}


def _require(package: str, add_on: str) -> None:
    try:
        with guarded_import(package):
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{add_on} needs the package {package}, which is not installed: pip install 'zae-engine[{package}]'.",
            name=package,
        ) from None


def _adapter(name: str) -> Any:
    """Return the adapter's module for a service, whose functions open, log to and close its runs."""
    with guarded_import("zae_lightning"):
        return importlib.import_module(f"zae_lightning.loggers.{name}")
