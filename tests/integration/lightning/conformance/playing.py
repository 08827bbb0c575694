"""Playing: one situation in an empty folder, with fixed random states and without Lightning's messages."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from .observing import differences
from .players import Player


def play(function: Callable[[Player], dict[str, Any]], way: str, folder: Path) -> dict[str, Any]:
    """Return what a function observes in one way, in an empty folder."""
    folder.mkdir(parents=True)
    for name in ("lightning", "pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        return function(Player(way, folder))


def compare(function: Callable[[Player], dict[str, Any]], way: str, folder: Path) -> None:
    """Fail where one way observes something else than the hand-written module."""
    expected = play(function, "hand_written", folder / "hand_written")
    found = differences(expected, play(function, way, folder / way))
    assert not found, "\n".join(found)
