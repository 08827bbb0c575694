"""Runs that come out alike in one process and in several.

``python -m tests.integration.distributed.cases FILE`` plays them, alone or under torchrun.
"""

from . import agreement, closures, loaders, trainers
from .common import CASES

__all__ = ["CASES", "agreement", "closures", "loaders", "trainers"]
