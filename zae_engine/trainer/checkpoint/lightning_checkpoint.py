"""Lightning checkpoint: load a checkpoint that Lightning wrote, for ``run(..., ckpt_path=...)``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from .._protocol import TrainerProtocol
from ..utilities.atomic_io import unreadable
from ..utilities.import_guard import guarded_import
from ..utilities.lightning_kinds import is_callback
from .loading import PARTS, load
from .storage.integrity import check_zip

KEY = "zae_engine"
"""The key of the trainer's state in a Lightning checkpoint; part of the format on disk."""
OPTIMIZER_IS_PENDING = "optimizer_is_pending"
"""The key that is true in a loaded checkpoint whose optimizer state waits for the callbacks of the run."""


def load_checkpoint(trainer: TrainerProtocol, ckpt_path: str | os.PathLike[str]) -> None:
    """Restore a trainer from a checkpoint that Lightning wrote.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    ckpt_path : path
        A file that ``ModelCheckpoint`` or ``L.Trainer.save_checkpoint`` wrote; or ``"best"`` or ``"last"``, for a file
        of the trainer's ``ModelCheckpoint``.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file cannot be read or does not fit the trainer. Then nothing is loaded.
    """
    filename = _resolve_path(trainer, ckpt_path)
    if filename is None:  # there is no last checkpoint yet, so the run is the first
        return
    checkpoint = _read(trainer, filename)
    current = checkpoint.get("current_model_state", checkpoint["state_dict"])  # WeightAveraging adds the former
    states = {"model": _weights_of_model(current, trainer.callbacks)}
    for part, key in (("optimizer", "optimizer_states"), ("scheduler", "lr_schedulers")):
        if checkpoint.get(key) and hasattr(getattr(trainer, part), "load_state_dict"):
            states[part] = checkpoint[key][0]
    if hasattr(trainer.optimizer, "load_state_dict") and trainer.mode == "train" and "optimizer" not in states:
        raise ValueError(
            f"{filename!r} has no state of the optimizer (save_weights_only=True?), so training cannot continue from "
            f"it. For the weights alone: trainer.model.load_state_dict(...). Nothing has been loaded."
        )
    if trainer.scheduler is not None and "scheduler" in states and _is_foreign(trainer.scheduler, states["scheduler"]):
        states["scheduler"] = checkpoint.get(KEY, {}).get("scheduler") or states["scheduler"]
    if "optimizer" in states and _is_divided_later(trainer, states["optimizer"]):
        del states["optimizer"]
        checkpoint[OPTIMIZER_IS_PENDING] = True
    trainer_state = checkpoint.get(KEY)
    load(trainer, states, trainer_state, dict.fromkeys([*PARTS, "rest"], filename))
    if trainer_state is None:
        _restore_lightning_counts(trainer, checkpoint)
    pending = trainer._zae_state.records.pending_restore or {}
    trainer._zae_state.records.pending_restore = {**pending, "checkpoint": checkpoint}


def read_checkpoint(filename: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. The function runs no code from the file.

    Parameters
    ----------
    filename : str
        The file.

    Returns
    -------
    dict
        The checkpoint, which contains ``"state_dict"`` at least.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a checkpoint of Lightning, or is damaged.
    """
    if os.path.isdir(filename):
        raise ValueError(
            f"{filename!r} is a folder; training can continue only from a checkpoint that is one file. "
            f"ModelParallelStrategy(..., save_distributed_checkpoint=False) writes such files."
        )
    try:
        check_zip(filename)
        checkpoint = torch.load(filename, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(filename, "no checkpoint", error)) from error
    return _checked(checkpoint, filename)


def _read(trainer: TrainerProtocol, filename: str) -> dict[str, Any]:
    """Read a checkpoint: a local file here, others through Lightning, as by a plugin that the user has given."""
    with guarded_import("zae_lightning"):
        import zae_lightning

    if "://" not in filename and not zae_lightning.has_checkpoint_plugin(trainer._zae_state.config.trainer_kwargs):
        return read_checkpoint(filename)
    try:
        checkpoint = zae_lightning.read_checkpoint_file(trainer, filename)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(filename, "no checkpoint", error)) from error
    return _checked(checkpoint, filename)


def _checked(checkpoint: Any, filename: str) -> dict[str, Any]:
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise ValueError(
            f"{filename!r} is no checkpoint of Lightning's: it has no 'state_dict'. For weights alone, call "
            f"apply_weights(file). Nothing has been loaded."
        )
    return checkpoint


def _resolve_path(trainer: TrainerProtocol, ckpt_path: str | os.PathLike[str]) -> str | None:
    name = os.fspath(ckpt_path)
    if name not in ("best", "last"):
        return name
    attribute = f"{name}_model_path"
    callbacks = trainer.callbacks if isinstance(trainer.callbacks, list) else []
    for callback in callbacks:
        path: str = getattr(callback, attribute, "") if hasattr(callback, "last_model_path") else ""
        if path:
            return path
    if name == "last" and any(is_callback(callback, "ModelCheckpoint") for callback in callbacks):
        with guarded_import("zae_lightning"):
            import zae_lightning

        return zae_lightning.find_last_checkpoint(trainer)
    raise ValueError(
        f'ckpt_path="{name}" needs a ModelCheckpoint among the callbacks that has written one'
        f"{' (save_last=True)' if name == 'last' else ''}; give the path of a file otherwise."
    )


def _weights_of_model(weights: Mapping[str, Any], callbacks: Any) -> dict[str, Any]:
    """Return the model's weights of a checkpoint; the run loads those of modules that its callbacks add."""
    prefix = "model."
    is_divided = bool(callbacks) and any(key.startswith(prefix) for key in weights)
    chosen = {key: value for key, value in weights.items() if key.startswith(prefix) or not is_divided}
    return {key.removeprefix(prefix): value for key, value in chosen.items()}


def _is_divided_later(trainer: TrainerProtocol, state: Mapping[str, Any]) -> bool:
    """Whether a callback that fine-tunes adds the optimizer's further groups when the run starts."""
    groups, callbacks = getattr(trainer.optimizer, "param_groups", None), trainer.callbacks
    if groups is None or not isinstance(callbacks, list) or len(groups) == len(state.get("param_groups", groups)):
        return False
    return any(is_callback(callback, "BaseFinetuning") for callback in callbacks)


def _is_foreign(scheduler: Any, state: Mapping[str, Any]) -> bool:
    """Whether a state belongs to another scheduler, by which a callback replaced the trainer's."""
    return not scheduler.state_dict().keys() >= state.keys()


def _restore_lightning_counts(trainer: TrainerProtocol, checkpoint: Mapping[str, Any]) -> None:
    """Restore the counts from a checkpoint that another LightningModule wrote, without the trainer's state."""
    epochs, steps = int(checkpoint.get("epoch", -1)) + 1, int(checkpoint.get("global_step", 0))
    trainer.progress_checker.load_state_dict({"step": steps + 1, "epoch": epochs + 1})
    trainer._zae_state.records.lightning_progress = {
        "epochs": epochs,
        "batches": steps,
        "steps": steps,
        "logged": steps,
    }
