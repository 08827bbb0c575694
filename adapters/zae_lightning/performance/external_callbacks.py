"""External callbacks: those that installed packages register for every ``L.Trainer``, looked up when these change."""

from __future__ import annotations

import functools
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from lightning.fabric.utilities.registry import _load_external_callbacks


def external_callbacks(group: str) -> list[Any]:
    """Return the callbacks of a group of entry points, as Lightning does.

    Lightning reads the metadata of all installed packages for each ``L.Trainer``, which takes some 10 ms for 200
    packages, more than all else of a short run. Here they are read again when an import path has changed.

    Parameters
    ----------
    group : str
        The name of the group.

    Returns
    -------
    list of lightning.pytorch.callbacks.Callback
        New callbacks; usually none.
    """
    return _load_external_callbacks(group) if _has_entry_points(group, _installed()) else []


@functools.lru_cache(maxsize=8)
def _has_entry_points(group: str, installed: Any) -> bool:
    return bool(entry_points(group=group))


def _installed() -> Any:
    """Return a fingerprint that changes when a package is installed or an import path is added."""
    return tuple((path, _changed(path)) for path in sys.path), tuple(map(id, sys.meta_path))


def _changed(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns
    except (OSError, ValueError):
        return 0
