"""Lightning loggers: Weights & Biases (Lightning's own, around a run of ours) and Neptune (ours)."""

from .neptune import NeptuneLogger, start_neptune
from .wandb import start_wandb

__all__ = ["NeptuneLogger", "start_neptune", "start_wandb"]
