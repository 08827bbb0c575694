"""Lightning callbacks that runs and add-ons bring along."""

from .epoch_results import EpochResultsCallback, ProgressBarMetrics
from .state_checkpoint import StateCheckpoint

__all__ = ["EpochResultsCallback", "ProgressBarMetrics", "StateCheckpoint"]
