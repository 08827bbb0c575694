"""The same trainers on zae-engine 0.7.6 and here, in separate processes: everything readable is equal, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity import reference, scenarios

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

SCRIPT = Path(__file__).with_name("run_scenarios.py")


def play(
    folder: Path, environment: dict[str, str], packages: tuple[str, ...] = ("upstream", "ours")
) -> dict[str, dict[str, Any]]:
    """Play all scenarios on both packages; fails, and does not skip, where upstream cannot be had."""
    reference.fetch()
    processes = {
        which: subprocess.Popen([sys.executable, str(SCRIPT), which, str(folder / which)], env=environment)
        for which in packages
    }
    for which, process in processes.items():
        assert process.wait() == 0, f"playing the scenarios on {which} failed"
    return {which: torch.load(folder / which, weights_only=False) for which in processes}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return play(tmp_path_factory.mktemp("parity"), dict(os.environ))


@pytest.fixture(scope="module")
def played_with_state_manager(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return play(tmp_path_factory.mktemp("saving"), {**os.environ, "ZAE_PARITY_SAVING": "ckpt"})


@pytest.fixture(scope="module")
def played_with_lightning_parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return play(tmp_path_factory.mktemp("parts"), {**os.environ, "ZAE_PARITY_PARTS": "1"}, ("ours",))


def differences(theirs: Any, ours: Any, path: str) -> list[str]:
    """Return where two observations differ, in type or in any bit."""
    if type(theirs) is not type(ours):
        return [f"{path}: {type(theirs).__name__} {theirs!r} / {type(ours).__name__} {ours!r}"]
    if isinstance(theirs, torch.Tensor):
        same = theirs.dtype == ours.dtype and theirs.shape == ours.shape and torch.equal(theirs, ours)
        return [] if same else [f"{path}: {theirs} / {ours}"]
    if isinstance(theirs, dict):
        if list(theirs) != list(ours):
            return [f"{path}: keys {list(theirs)} / {list(ours)}"]
        return [d for key in theirs for d in differences(theirs[key], ours[key], f"{path}.{key}")]
    if isinstance(theirs, (list, tuple)):
        if len(theirs) != len(ours):
            return [f"{path}: length {len(theirs)} / {len(ours)}: {theirs} / {ours}"]
        return [d for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if theirs == ours or (theirs != theirs and ours != ours) else [f"{path}: {theirs!r} / {ours!r}"]


def test_there_are_at_least_twenty_scenarios():
    assert len(scenarios.SCENARIOS) >= 20


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_scenario_is_identical_on_upstream_and_here(name, played):
    theirs, ours = played["upstream"][name], played["ours"][name]
    assert "error" not in theirs, f"upstream cannot run this scenario:\n{theirs['error']}"
    assert "error" not in ours, ours["error"]
    found = differences(theirs, ours, name)
    assert not found, "theirs / ours:\n" + "\n".join(found[:10])


UNSAVEABLE_UPSTREAM = {"optimizer_and_scheduler_that_only_look_like_torchs"}  # a scheduler without state_dict


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_scenario_is_identical_with_the_state_manager_added(name, played_with_state_manager):
    theirs, ours = played_with_state_manager["upstream"][name], played_with_state_manager["ours"][name]
    assert "error" not in ours, ours["error"]
    if name in UNSAVEABLE_UPSTREAM:
        assert "error" in theirs
        return
    assert "error" not in theirs, theirs["error"]
    found = differences(theirs, ours, name)
    assert not found, "theirs / ours:\n" + "\n".join(found[:10])


AS_LIGHTNING_DOES = {"sampler_with_set_epoch_is_left_alone"}
"""With a Lightning part, Lightning decides: it tells the epoch to a sampler that wants to know it."""


@pytest.mark.parametrize("name", [name for name in scenarios.SCENARIOS if name not in AS_LIGHTNING_DOES])
def test_scenario_is_identical_with_a_callback_and_a_logger(name, played, played_with_lightning_parts):
    theirs, ours = played["upstream"][name], played_with_lightning_parts["ours"][name]
    assert "error" not in ours, ours["error"]
    found = differences(theirs, ours, name)
    assert not found, "theirs / ours:\n" + "\n".join(found[:10])


def test_comparison_sees_a_single_bit():
    value = torch.tensor([1.0])
    other = torch.nextafter(value, torch.tensor([2.0]))
    assert differences({"a": [value]}, {"a": [value.clone()]}, "") == []
    assert differences({"a": [value]}, {"a": [other]}, "") != []
    assert differences({"a": value}, {"a": value.double()}, "") != []
