"""Lightning callbacks that add-ons bring along."""

from .state import StateCheckpoint

__all__ = ["StateCheckpoint"]
