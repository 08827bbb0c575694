"""The trainer: `Trainer` to subclass, `History`, its records, `compare` for several runs, and `ProgressChecker`."""

from ._protocol import T
from ._trainer import Trainer
from .comparison import compare
from .history import History
from .progress import ProgressChecker

__all__ = ["History", "ProgressChecker", "T", "Trainer", "compare"]


def __dir__() -> list[str]:
    return sorted(__all__)
