"""Every metric gives what 0.7.6 gives, on random inputs, as arrays and as tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity import reference
from tests.unit.metrics import cases
from zae_engine import metrics
from zae_engine.metrics import count, signals

EXACT = ("accuracy", "Acc", "top", "confusion", "giou", "bijective", "printed")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reference.fetch()
    file = tmp_path_factory.mktemp("metrics") / "upstream"
    subprocess.run([sys.executable, cases.__file__, "upstream", str(file)], check=True, cwd=Path(__file__).parents[3])
    return torch.load(file, weights_only=False)


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    torch.manual_seed(0)
    return cases.compute(metrics, signals, count)


def same(theirs: Any, ours: Any, exact: bool) -> bool:
    """Whether two results are of one type and equal, to the bit or to float32's rounding."""
    if isinstance(theirs, dict):
        return theirs.keys() == ours.keys() and all(same(theirs[key], ours[key], exact) for key in theirs)
    if isinstance(theirs, (tuple, list)):
        return len(theirs) == len(ours) and all(same(a, b, exact) for a, b in zip(theirs, ours, strict=True))
    if isinstance(theirs, torch.Tensor):
        if theirs.dtype != ours.dtype or theirs.shape != ours.shape:
            return False
        return torch.equal(theirs, ours) if exact else torch.allclose(theirs, ours, rtol=1e-5, equal_nan=True)
    if isinstance(theirs, np.ndarray):
        return theirs.dtype == ours.dtype and np.array_equal(theirs, ours)
    if isinstance(theirs, (float, np.floating)) and not exact:
        return isinstance(ours, float) and theirs == pytest.approx(ours, rel=1e-4, abs=1e-6)
    return theirs == ours


def test_every_result_is_that_of_upstream(theirs, ours):
    assert len(theirs) > 300
    assert theirs.keys() == ours.keys()
    wrong = [f"{n}: {theirs[n]} / {ours[n]}" for n in theirs if not same(theirs[n], ours[n], n.startswith(EXACT))]
    assert not wrong, "theirs / ours:\n" + "\n".join(wrong[:20])


def test_the_inputs_are_not_all_right_or_all_wrong(theirs):
    assert 0.3 < theirs["accuracy, torch 0"] < 0.8
    assert {len(theirs[f"bijective, {seed}"]["bijective_run_pair"]) for seed in range(5)} - {0}
    assert any(0 < theirs[f"bijective, {seed}"]["bijective_f1"] < 1 for seed in range(5))


def test_the_comparison_sees_small_differences():
    assert same(torch.tensor([1.0]), torch.tensor([1.0]), True)
    assert not same(torch.tensor([1.0]), torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])), True)
    assert not same(torch.tensor([1.0]), torch.tensor([1.001]), False)
    assert not same({"a": 1.0}, {"a": 1.01}, False)


def test_all_names_of_upstreams_module_are_here():
    package = reference.fetch() / "zae_engine" / "metrics"
    lines = (package / "__init__.py").read_text().splitlines()
    names = [line.split()[-1] for line in lines if line.startswith("from")]
    assert len(names) == 12
    assert set(names) <= set(metrics.__all__)
    for module in ("bijective", "confusion", "count", "iou", "signals"):
        assert (package / f"{module}.py").exists()
        assert hasattr(metrics, module)
