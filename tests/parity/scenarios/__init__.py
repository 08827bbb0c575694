"""Trainers as people have written them for zae-engine 0.7.6, each played on both packages.

Every scenario is a function that builds a trainer, uses it, and returns it. Only names that 0.7.6 has are used. The
trainers keep a ``trace`` of hook calls with the mode and learning rate at each, and of every loss.
"""

from zae_engine.trainer import Trainer
from zae_engine.trainer._trainer import Trainer as _SameTrainer  # the path that add-ons of 0.7.6 import from

from . import batches, edge_cases, idioms, overrides, runs, schedules, strange_loaders  # noqa: F401  # each registers its scenarios
from .parts import SCENARIOS

assert _SameTrainer is Trainer

__all__ = ["SCENARIOS"]
