"""The trainer: `Trainer` to subclass, `History`, its records, and `ProgressChecker`, its counts."""

from ._protocol import T
from ._trainer import Trainer
from .history import History
from .progress import ProgressChecker

__all__ = ["History", "ProgressChecker", "T", "Trainer"]


def __dir__() -> list[str]:
    return sorted(__all__)
