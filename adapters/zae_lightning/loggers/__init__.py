"""Lightning loggers: Weights & Biases (Lightning's own, around a run of ours) and Neptune (ours)."""

from .neptune import NeptuneLogger

__all__ = ["NeptuneLogger"]
