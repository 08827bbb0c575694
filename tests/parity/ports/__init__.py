"""Trainers written after public training loops, each played on both packages as the first run of its process.

Every port is a function that builds a trainer, runs it, and returns it. Only names that 0.7.6 has are used. The idioms
are those of the loops' authors: own backward calls in ``train_step``, networks in dicts, images as globals, optimizers
that are hardly optimizers. Where the public loop needs a package, its essence is written by hand, as ported scripts do.
"""

from . import (
    adapters,
    adversarial,
    contrastive,
    curricula,
    diffusion,
    distillation,
    gan,
    image_optimization,
    meta_learning,
    metric_learning,
    multi_task,
    recurrent,
    reinforcement,
    sequence,
)  # each registers its ports
from .parts import PORTS

__all__ = ["PORTS"]
