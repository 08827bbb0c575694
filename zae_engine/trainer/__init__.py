"""The trainer: `Trainer` to subclass; `History`, what it has done; `ProgressChecker`, which counts epochs and steps."""

from ._trainer import Trainer
from .addons.core import T
from .history import History
from .progress import ProgressChecker

__all__ = ["History", "ProgressChecker", "T", "Trainer"]
