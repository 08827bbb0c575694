"""Trainers written after public training loops, each played on both packages as the first run of its process.

Every port is a function that builds a trainer, runs it, and returns it. Only names that 0.7.6 has are used. The idioms
are those of the loops' authors: own backward calls in ``train_step``, networks in dicts, images as globals, optimizers
that are hardly optimizers. Where the public loop needs a package, its essence is written by hand, as ported scripts do.
"""

import importlib
import pkgutil

from .parts import PORTS

for _family in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_family.name}", __name__)  # each registers its ports

__all__ = ["PORTS"]
