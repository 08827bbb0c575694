"""Learning-rate schedulers: a warm-up, a cosine annealing, and a chain that runs several in turn."""

from .core import SchedulerBase, SchedulerChain
from .scheduler import CosineAnnealingScheduler, WarmUpScheduler

__all__ = ["CosineAnnealingScheduler", "SchedulerBase", "SchedulerChain", "WarmUpScheduler"]
