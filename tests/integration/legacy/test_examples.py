"""Upstream's shipped examples, unchanged, on our trainer by way of the bridge: outputs are upstream's, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.integration.legacy import shipped
from tests.integration.legacy.conftest import ROOT
from tests.parity import reference
from tests.parity.test_parity import differences

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    import torch

    copy, folder = reference.fetch(), tmp_path_factory.mktemp("shipped")
    environment = {**os.environ, "ZAE_ENGINE_LEGACY": str(copy), "MPLBACKEND": "agg"}
    results = {}
    for which in ("upstream", "ours"):
        command = [sys.executable, shipped.__file__, which, str(folder / which)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results[which] = torch.load(folder / which, weights_only=False)
    return results


def plain(value: Any) -> Any:
    """Return arrays as lists, so that `differences` compares them."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.tolist()]
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def test_it_is_upstreams_trainer_and_ours(played):
    assert played["upstream"]["trainer"].startswith(str(reference.CACHE))
    assert played["ours"]["trainer"] == str(ROOT / "zae_engine" / "trainer" / "__init__.py")


@pytest.mark.parametrize("example", ["classification", "segmentation", "diffusion", "script"])
def test_outputs_are_those_of_upstream(played, example):
    theirs, ours = (
        {name: plain(value) for name, value in played[which]["results"].items() if name.startswith(example)}
        for which in ("upstream", "ours")
    )
    assert theirs
    found = differences(theirs, ours, example)
    assert not found, "theirs / ours:\n" + "\n".join(found[:10])


def test_the_examples_have_said_something(played):
    results = played["ours"]["results"]
    assert len(results["classification of ecg"]) == 5
    outputs = results["segmentation, what the trainers returned"]
    assert [len(of_one) for of_one in outputs] == [5, 5, 1]
    assert outputs[0][0].shape == (1, 4, 2048)
    assert outputs[0][0].unique().numel() > 100
    assert results["classification of nothing"] == results["segmentation of nothing"] == []
    assert results["diffusion, trained"]["steps"] == 10
    assert results["script"]["matrix"].sum() == 32
    assert results["script"]["trained"]["log_test"]["acc"]
