"""Checkpoint files: finding and reading a checkpoint as Lightning does, with its plugins and file systems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from .foreign_lightning import bridged
from .protocol import TrainerProtocol
from .runner import build_trainer


def find_last_checkpoint(trainer: TrainerProtocol) -> str | None:
    """Return the newest file that a trainer's ``ModelCheckpoint`` calls its last one, in this process or before.

    Lightning looks into the callback's folder. The method is private to Lightning;
    tests/unit/zae_lightning/test_checkpoint_files.py fails if it changes.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.

    Returns
    -------
    str or None
        The path; None without a file. Lightning warns of that.
    """
    lightning_trainer = build_trainer(trainer)
    with bridged(lightning_trainer.callbacks):  # type: ignore[attr-defined]
        path = lightning_trainer._checkpoint_connector._parse_ckpt_path(TrainerFn.FITTING, "last", True, False)
    return None if path is None else str(path)


def has_checkpoint_plugin(trainer_kwargs: dict[str, Any]) -> bool:
    """Whether the user has given a plugin that reads and writes checkpoints."""
    plugins = trainer_kwargs.get("plugins")
    plugins = plugins if isinstance(plugins, Iterable) and not isinstance(plugins, str) else [plugins]
    return any(isinstance(plugin, CheckpointIO) for plugin in plugins)


def read_checkpoint_file(trainer: TrainerProtocol, path: str) -> Any:
    """Read a checkpoint through the plugins of a trainer, from any file system that fsspec knows.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    path : str
        The path, such as ``"s3://bucket/last.ckpt"``.

    Returns
    -------
    dict
        What the file contains. Lightning's own reader runs no code from it.
    """
    return build_trainer(trainer).strategy.load_checkpoint(path, weights_only=True)
