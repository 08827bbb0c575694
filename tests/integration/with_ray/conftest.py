"""Ray is heavy, and starts processes for a minute: only ``nox -s ray``, which installs it, collects these tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

if os.environ.get("ZAE_ENGINE_RAY") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _handlers_of_ray_go() -> Iterator[None]:
    """Take back the signal handlers that Ray leaves behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
