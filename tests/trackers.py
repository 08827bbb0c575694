"""Trackers: settings of offline runs, and what they have written in the present folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.wandb_file import read_wandb_run

NEPTUNE = {"neptune": {"project_name": "w/p", "mode": "offline", "capture_hardware_metrics": False}}


def wandb_settings() -> dict[str, Any]:
    """Name the folder: wandb goes on with the one of the process's first run."""
    return {"wandb": {"project": "p", "mode": "offline", "dir": str(Path.cwd())}}


def wandb_files() -> list[Path]:
    return sorted(Path("wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)


def wandb_history(number: int = -1) -> Any:
    return read_wandb_run(wandb_files()[number])


def losses(trainer: Any, mode: str = "train") -> list[float]:
    return [float(loss) for loss in trainer.get_loss_history(mode)]
