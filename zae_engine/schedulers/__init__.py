"""Schedulers: a warm-up, a cosine annealing, and a chain of several schedulers for the learning rate."""

from .core import SchedulerBase, SchedulerChain
from .scheduler import CosineAnnealingScheduler, WarmUpScheduler

__all__ = ["CosineAnnealingScheduler", "SchedulerBase", "SchedulerChain", "WarmUpScheduler"]
