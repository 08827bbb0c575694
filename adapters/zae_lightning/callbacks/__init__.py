"""Lightning callbacks that runs and add-ons bring along."""

from .first import BarValues, EpochBooks
from .state import StateCheckpoint

__all__ = ["BarValues", "EpochBooks", "StateCheckpoint"]
