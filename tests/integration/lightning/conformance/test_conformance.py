"""What a Lightning part sees and does with a zae-engine trainer equals what it sees and does with a module by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from zae_lightning.performance import evaluation_loop, training_loop

from .observing import differences
from .playing import play
from .situations import all_situations

SITUATIONS = all_situations()
GAMES = [(situation.name, way) for situation in SITUATIONS.values() for way in situation.ways]
OF_RUN = [situation.name for situation in SITUATIONS.values() if "run" in situation.ways]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that gives what is expected of a situation; the hand-written module plays it once."""

    @cache
    def expected(name: str) -> dict[str, Any]:
        situation = SITUATIONS[name]
        if situation.expected is not None:
            return dict(situation.expected)
        return play(situation.play, "hand_written", tmp_path_factory.mktemp("reference") / "game")

    return expected


@pytest.mark.parametrize(("name", "way"), GAMES, ids=[f"{name}-{way}" for name, way in GAMES])
def test_as_the_hand_written_module(name: str, way: str, reference: Any, tmp_path: Path):
    check(name, way, reference, tmp_path)


@pytest.mark.parametrize("name", OF_RUN)
def test_as_the_hand_written_module_in_lightnings_own_loops(
    name: str, reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run has loops of its own; where these do not know a part, Lightning's run it."""
    monkeypatch.setattr(training_loop, "plan_for", lambda trainer: None)
    monkeypatch.setattr(evaluation_loop, "plan_for", lambda trainer: None)
    check(name, "run", reference, tmp_path)


def check(name: str, way: str, reference: Any, tmp_path: Path) -> None:
    expected = reference(name)
    observed = play(SITUATIONS[name].play, way, tmp_path / "game")
    found = differences(expected, observed)
    assert not found, "\n".join([SITUATIONS[name].text, *found])
