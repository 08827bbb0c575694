"""Trainers written after public training loops, on zae-engine 0.7.6 and here: the same to the last bit.

Each port is the first run of its process, since what a first run imports must leave the random generators alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity import reference
from tests.parity.line_process import PACKAGES, LineProcess
from tests.parity.ports import PORTS
from tests.parity.test_parity import differences

SCRIPT = Path(__file__).with_name("run_ports.py")
MODEL_STAYS = {
    "adversarial_patch_against_a_frozen_classifier",
    "deep_dream_that_moves_the_image_by_hand",
    "lora_parameters_in_a_dict_applied_by_forward_hooks",
    "new_codes_fitted_to_a_decoder_that_stays",
    "proxies_alone_are_trained_on_frozen_embeddings",
    "soft_prompts_in_a_plain_object_before_a_frozen_transformer",
    "style_transfer_of_an_image_that_is_a_global",
    "style_transfer_with_lbfgs_and_a_closure",
}
"""Ports that may be warned of: no parameter of their model changes, since something else is trained."""


class Player:
    """Plays ports on both packages at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers = {which: LineProcess(SCRIPT, which) for which in PACKAGES}

    def play(self, name: str) -> dict[str, dict[str, Any]]:
        for which, server in self._servers.items():
            server.send(f"{name} {self._folder / which}")
        for which, server in self._servers.items():
            answer = server.answer()
            assert answer == "0", f"the process that played {name} on {which} ended with {answer or 'its server'}"
        return {which: torch.load(self._folder / which, weights_only=False) for which in PACKAGES}

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    reference.fetch()
    player = Player(tmp_path_factory.mktemp("ports"))
    yield player
    player.close()


def test_there_are_at_least_sixty_ports():
    assert len(PORTS) >= 60


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", PORTS)
def test_port_is_identical_on_upstream_and_here(name, player):
    theirs, ours = player.play(name).values()
    assert "error" not in theirs, f"upstream cannot run this port:\n{theirs['error']}"
    assert "error" not in ours, ours["error"]
    found = differences(theirs["observed"], ours["observed"], name)
    assert not found, "theirs / ours:\n" + "\n".join(text[:300] for text in found[:10])
    warned = [message for message in ours["warnings"] if message not in theirs["warnings"]]
    assert not warned or name in MODEL_STAYS, warned
