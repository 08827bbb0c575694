"""zae-engine: write a `train_step` and a `test_step`; PyTorch Lightning runs them.

>>> from zae_engine.trainer import Trainer
>>> from zae_engine.schedulers import CosineAnnealingScheduler

What 0.7.6 offered at the root is here too (``zae_engine.Trainer``, ``zae_engine.accuracy``, …) and is imported when it
is asked for. Its networks, layers, losses and data come from a copy of 0.7.6; see `zae_engine.legacy`.
"""

import sys as _sys

from . import _root
from .legacy import finder as _finder

__version__ = "1.0.0"

_finder.install()


def __getattr__(name: str) -> object:
    return _root.get(_sys.modules[__name__], name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_root.available()})
