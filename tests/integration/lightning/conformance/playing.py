"""Playing: one situation in an empty folder, with fixed random states and without Lightning's messages."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), quiet_loggers():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        return function(Player(way, folder))


@contextmanager
def quiet_loggers() -> Iterator[None]:
    """Let Lightning log errors only."""
    loggers = [logging.getLogger(name) for name in ("lightning", "pytorch_lightning", "lightning.pytorch")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def compare(function: Callable[[Player], dict[str, Any]], way: str, folder: Path) -> None:
    """Fail where one way observes something else than the hand-written module."""
    expected = play(function, "hand_written", folder / "hand_written")
    found = differences(expected, play(function, way, folder / way))
    assert not found, "\n".join(found)
