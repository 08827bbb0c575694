"""Hang guard: a hang where no signal handler can run ends its process, with the stacks of all threads.

pytest-timeout ends a test by a signal, whose handler Python runs between two instructions. A call that holds the
interpreter's lock and waits, such as a ``fork`` that deadlocks, never gets there, and the whole suite would wait. The
same holds after the last test, while objects are collected. The timer here belongs to C; pytest-xdist reports the
process as crashed, and goes on with another.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator

import pytest

GRACE_SECONDS = 60.0
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the stderr of the process: during tests, output is captured."""
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process a minute after the time limit of a test."""
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker is not None else item.config.getini("timeout"))
    faulthandler.dump_traceback_later(limit + _grace(), exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End a process of pytest-xdist whose tests are over, and which does not end."""
    if hasattr(session.config, "workerinput"):
        faulthandler.dump_traceback_later(2 * _grace(), exit=True, file=session.config.stash[_STDERR])


def _grace() -> float:
    return float(os.environ.get("HANG_GUARD_GRACE_SECONDS", GRACE_SECONDS))
