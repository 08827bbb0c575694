"""Settings of Weights & Biases: what arguments of ``wandb.init`` ask for, and which of it an active run can take."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

_SETTING_OF_ARGUMENT = {
    "dir": "root_dir",
    "id": "run_id",
    "name": "run_name",
    "notes": "run_notes",
    "tags": "run_tags",
    "group": "run_group",
    "job_type": "run_job_type",
    "tensorboard": "sync_tensorboard",
}
_NOT_OF_A_RUN = frozenset(("config", "allow_val_change", "settings", "reinit", "resume", "force", "anonymous"))


def requested_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``wandb.init``, and what is in ``settings``, by the names that ``wandb.Settings`` has.

    Parameters
    ----------
    params : mapping
        Arguments of ``wandb.init``; those that are None count as not given.
    """
    settings = params.get("settings")
    if settings is not None and not isinstance(settings, Mapping):
        settings = {name: getattr(settings, name) for name in settings.model_fields_set}
    arguments = {_SETTING_OF_ARGUMENT.get(name, name): value for name, value in params.items() if name != "settings"}
    given = {name: value for name, value in arguments.items() if value is not None}
    requested = {**(settings or {}), **given}
    if requested.get("reinit") == "default":
        del requested["reinit"]
    return requested


def asks_for_new_run(requested: Mapping[str, Any]) -> bool:
    """Return whether settings ask for a run beside or instead of the active ones."""
    return (
        requested.get("reinit") in (True, "finish_previous", "create_new")
        or requested.get("mode") == "disabled"
        or requested.get("resume") == "never"
        or any(requested.get(name) is not None for name in ("fork_from", "resume_from"))
    )


def apply_to_active_run(run: Any, params: Mapping[str, Any], requested: Mapping[str, Any], title: str) -> None:
    """Add ``config`` to an active run, and warn about other settings that the run does not have.

    Parameters
    ----------
    run : wandb.Run
        The run.
    params : mapping
        Arguments of ``wandb.init``.
    requested : mapping
        Their `requested_settings`.
    title : str
        How the message names the run.

    Warns
    -----
    UserWarning
        If settings differ.
    """
    if params.get("config") is not None:
        run.config.update(params["config"], allow_val_change=True)
    settings = run.settings
    argument_of = {setting: argument for argument, setting in _SETTING_OF_ARGUMENT.items() if argument in params}
    different = []
    for name, value in requested.items():
        if name in _NOT_OF_A_RUN:
            continue
        has = getattr(settings, name, None)
        if _comparable(name, value) != _comparable(name, has):
            different.append(f"{argument_of.get(name, name)}={value!r} (the run has {has!r})")
    if different:
        warnings.warn(
            f"The trainer continues the active run {title}, which cannot take these settings of "
            f'web_logger["wandb"]: {", ".join(different)}. Give them to the wandb.init that opens the run; or give '
            '"reinit": "create_new" to web_logger["wandb"], and the trainer opens a run with them.',
            stacklevel=2,
        )


def _comparable(name: str, value: Any) -> Any:
    if name == "root_dir" and value is not None:
        return os.path.realpath(value)
    if name == "run_tags" and value is not None:
        return {value} if isinstance(value, str) else set(value)
    return value or None  # False, "" and None all mean that something is not wanted
