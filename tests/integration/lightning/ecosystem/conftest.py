"""The packages of this folder are heavy: only ``nox -s ecosystem``, which installs them, collects its tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conformance.players import WAYS
from ..conformance.playing import compare as compare_plays

if os.environ.get("ZAE_ENGINE_ECOSYSTEM") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _handlers_of_others_go() -> Iterator[None]:
    """Take back the signal handlers that Ray and litdata leave behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def compare(way: str, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays a situation by hand and in one way, and fails where they differ."""

    def compare(function: Callable[..., dict[str, Any]]) -> None:
        compare_plays(function, way, tmp_path)

    return compare
