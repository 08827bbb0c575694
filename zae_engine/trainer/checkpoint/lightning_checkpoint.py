"""Going on from a checkpoint of Lightning's: what ``run(..., ckpt_path=...)`` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from .._protocol import TrainerProtocol
from ..utilities.atomic_io import unreadable
from .loading import PARTS, load

KEY = "zae_engine"
"""What a trainer's part of a Lightning checkpoint is called."""


def load_checkpoint(trainer: TrainerProtocol, ckpt_path: str | os.PathLike[str]) -> None:
    """Make a trainer what it was when Lightning wrote a checkpoint of it.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    ckpt_path : path
        A file that ``ModelCheckpoint`` or ``L.Trainer.save_checkpoint`` wrote; or ``"best"`` or ``"last"``, for what
        the trainer's ``ModelCheckpoint`` has written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read or does not fit; nothing is loaded then.
    """
    filename = _chosen(trainer, ckpt_path)
    checkpoint = read_checkpoint(filename)
    current = checkpoint.get("current_model_state", checkpoint["state_dict"])  # beside averaged weights
    states = {"model": {key.removeprefix("model."): value for key, value in current.items()}}
    for part, key in (("optimizer", "optimizer_states"), ("scheduler", "lr_schedulers")):
        if checkpoint.get(key) and hasattr(getattr(trainer, part), "load_state_dict"):
            states[part] = checkpoint[key][0]
    if hasattr(trainer.optimizer, "load_state_dict") and trainer.mode == "train" and "optimizer" not in states:
        raise ValueError(
            f"{filename!r} has no state of the optimizer (save_weights_only=True?), so training cannot go on from it. "
            f"For the weights alone: trainer.model.load_state_dict(...). Nothing has been loaded."
        )
    if trainer.scheduler is not None and "scheduler" in states and _is_foreign(trainer.scheduler, states["scheduler"]):
        states["scheduler"] = checkpoint.get(KEY, {}).get("scheduler") or states["scheduler"]
    rest = checkpoint.get(KEY)
    load(trainer, states, rest, dict.fromkeys([*PARTS, "rest"], filename))
    if rest is None:
        _count_on(trainer, checkpoint)
    waiting = trainer._zae_state.records.pending_restore or {}
    trainer._zae_state.records.pending_restore = {**waiting, "checkpoint": checkpoint}


def read_checkpoint(filename: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, running nothing that stands in it.

    Parameters
    ----------
    filename : str
        The file.

    Returns
    -------
    dict
        The checkpoint, with ``"state_dict"`` at least.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or it is none of Lightning's.
    """
    if os.path.isdir(filename):
        raise ValueError(f"{filename!r} is a folder; only checkpoints that are one file can be gone on from.")
    try:
        checkpoint = torch.load(filename, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(filename, "no checkpoint", error)) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise ValueError(
            f"{filename!r} is no checkpoint of Lightning's: it has no 'state_dict'. For weights alone, call "
            f"apply_weights(file). Nothing has been loaded."
        )
    return checkpoint


def _chosen(trainer: TrainerProtocol, ckpt_path: str | os.PathLike[str]) -> str:
    name = os.fspath(ckpt_path)
    if name not in ("best", "last"):
        return name
    attribute = f"{name}_model_path"
    for callback in trainer.callbacks if isinstance(trainer.callbacks, list) else []:
        path: str = getattr(callback, attribute, "") if hasattr(callback, "last_model_path") else ""
        if path:
            return path
    raise ValueError(
        f'ckpt_path="{name}" needs a ModelCheckpoint among the callbacks that has written one'
        f"{' (save_last=True)' if name == 'last' else ''}; give the path of a file otherwise."
    )


def _is_foreign(scheduler: Any, state: Mapping[str, Any]) -> bool:
    """Whether a state is of another scheduler, which a callback has put in the place of the trainer's."""
    return not scheduler.state_dict().keys() >= state.keys()


def _count_on(trainer: TrainerProtocol, checkpoint: Mapping[str, Any]) -> None:
    """Take the counts of a checkpoint that a LightningModule of somebody else's wrote."""
    epochs, steps = int(checkpoint.get("epoch", -1)) + 1, int(checkpoint.get("global_step", 0))
    trainer.progress_checker.load_state_dict({"step": steps + 1, "epoch": epochs + 1})
    trainer._zae_state.records.lightning_progress = {
        "epochs": epochs,
        "batches": steps,
        "steps": steps,
        "logged": steps,
    }
