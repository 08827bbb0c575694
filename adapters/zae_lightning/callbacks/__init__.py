"""Callbacks: the Lightning callbacks that runs and add-ons use."""

from .epoch_results import EpochResultsCallback, ProgressBarMetrics
from .state_checkpoint import StateCheckpoint

__all__ = ["EpochResultsCallback", "ProgressBarMetrics", "StateCheckpoint"]
