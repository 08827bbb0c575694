"""Lightning callbacks that runs and add-ons bring along."""

from .first import EpochBooks
from .state import StateCheckpoint

__all__ = ["EpochBooks", "StateCheckpoint"]
