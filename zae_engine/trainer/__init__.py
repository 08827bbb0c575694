"""The trainer: `Trainer` to subclass, and `ProgressChecker`, which counts its epochs and steps."""

from ._trainer import Trainer
from .addons.core import T
from .progress import ProgressChecker

__all__ = ["ProgressChecker", "T", "Trainer"]
