"""Trainers whose models are sharded; each case returns a dict of what became of a trainer."""

from . import beside_lightning, saving, tensor, training
from .common import CASES

__all__ = ["CASES", "beside_lightning", "saving", "tensor", "training"]
