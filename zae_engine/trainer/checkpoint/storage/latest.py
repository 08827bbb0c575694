"""Latest: which of the states in a trainer's folder is the latest one.

The best state lies in the folder itself, a later one of the same run beside it in ``latest``, and that of a stopped run
in ``stopped``. A save of the best state removes the others. A process that is killed before it has removed them leaves
states that are older than the best one: each records which saves it is later than, so that `latest_state` finds out.
"""

from __future__ import annotations

import os
from typing import Any

from .atomic_folder import AtomicFolder
from .manifest import writer_of

_EARLIER: dict[str, tuple[str, ...]] = {"": (), "latest": ("",), "stopped": ("latest", "")}
"""The folders of states, in the order in which one is saved after another, each with those of the earlier ones."""


def earlier_saves(path: str, name: str) -> dict[str, Any]:
    """Return the saves that a state is later than, which its note is to hold.

    Parameters
    ----------
    path : str
        The trainer's folder.
    name : {"", "latest", "stopped"}
        The folder within, into which the state is saved.

    Returns
    -------
    dict of str to str or None
        The identity of the save in each folder of an earlier state; None if there is none.
    """
    return {other: _save_in(path, other) for other in _EARLIER[name]}


def latest_state(path: str) -> AtomicFolder:
    """Return the folder of the latest state.

    Parameters
    ----------
    path : str
        The trainer's folder.

    Returns
    -------
    AtomicFolder
        That of ``stopped`` or ``latest``, if it has files and is not older than another state; otherwise the folder
        itself. States of versions that recorded nothing count as later than the best one.
    """
    for name in ("stopped", "latest"):
        folder = AtomicFolder(os.path.join(path, name))
        if folder.names() and not _is_outdated(path, writer_of(folder).get("later_than")):
            return folder
    return AtomicFolder(path)


def _is_outdated(path: str, later_than: Any) -> bool:
    """Whether another save is now in one of the folders whose earlier states were recorded."""
    if not isinstance(later_than, dict):
        return False
    present = {name: _save_in(path, name) for name in later_than if name in _EARLIER}
    return any(save is not None and save != later_than[name] for name, save in present.items())


def _save_in(path: str, name: str) -> str | None:
    save = writer_of(AtomicFolder(os.path.join(path, name))).get("save")
    return save if isinstance(save, str) else None
