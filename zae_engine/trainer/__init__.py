"""The trainer: `Trainer` to subclass, and `ProgressChecker`, which counts its epochs and steps."""

from ._trainer import T, Trainer
from .progress import ProgressChecker

__all__ = ["ProgressChecker", "T", "Trainer"]
