"""What a Lightning part sees and does with a zae-engine trainer equals what it sees and does with a module by hand."""

from __future__ import annotations

import logging
import random
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from .observing import differences
from .players import Player
from .situations import Situation, all_situations

SITUATIONS = all_situations()
GAMES = [(situation.name, way) for situation in SITUATIONS.values() for way in situation.ways]


def play(situation: Situation, way: str, folder: Path) -> dict[str, Any]:
    """Return what a situation observes in one way, in an empty folder."""
    folder.mkdir(parents=True)
    for name in ("lightning", "pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        return situation.play(Player(way, folder))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that gives what is expected of a situation; the hand-written module plays it once."""

    @cache
    def expected(name: str) -> dict[str, Any]:
        situation = SITUATIONS[name]
        if situation.expected is not None:
            return dict(situation.expected)
        return play(situation, "hand_written", tmp_path_factory.mktemp("reference") / "game")

    return expected


@pytest.mark.parametrize(("name", "way"), GAMES, ids=[f"{name}-{way}" for name, way in GAMES])
def test_as_the_hand_written_module(name: str, way: str, reference: Any, tmp_path: Path):
    expected = reference(name)
    observed = play(SITUATIONS[name], way, tmp_path / "game")
    found = differences(expected, observed)
    assert not found, "\n".join([SITUATIONS[name].text, *found])
