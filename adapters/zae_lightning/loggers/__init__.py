"""Loggers: Lightning's logger for Weights & Biases runs, and a logger for Neptune."""

from .neptune import NeptuneLogger

__all__ = ["NeptuneLogger"]
