"""One save of a trainer: the three files of zae-engine 0.7.6 and ``trainer.zae``, which says what belongs together."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...utilities.atomic_io import atomic_write, unreadable
from .. import weights
from . import formats
from .atomic_folder import AtomicFolder, checksum

REST = "trainer.zae"
_FORMAT = 1
_ATTEMPTS = 4


@dataclass
class SavedState:
    """What was read of a save.

    Attributes
    ----------
    parts : dict of str to dict
        The states of model, optimizer and scheduler.
    rest : dict or None
        All else, see `resume.trainer_state_dict`; None where the files are of zae-engine 0.7.6 or were written one by one.
    files : dict of str to str
        The path of each part, and of ``"rest"``.
    """

    parts: dict[str, dict[str, Any]]
    rest: dict[str, Any] | None
    files: dict[str, str]


@dataclass
class SaveStatus:
    """What a trainer remembers of its saves.

    Attributes
    ----------
    staged : str or None
        Where the files of the save in hand are written.
    has_failed : bool
        Whether the latest save on a better loss has failed.
    is_stopped : bool
        Whether the trainer goes on from a state that SIGTERM stopped, or is that state.
    to_complete : dict or None
        What stands in ``trainer.zae`` of an epoch that is still ending.
    """

    staged: str | None = None
    has_failed: bool = False
    is_stopped: bool = False
    to_complete: dict[str, Any] | None = None


def write_manifest(folder: AtomicFolder, staged: str, rest: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``trainer.zae`` beside the other files of a save, and return what stands in it.

    Parameters
    ----------
    folder : AtomicFolder
        The folder, which is being saved into.
    staged : str
        Where the other files have been written.
    rest : mapping
        Plain values.
    """
    paths = [os.path.join(staged, name) for name in sorted(os.listdir(staged)) if name != REST]
    paths += [os.path.join(folder.path, name) for name in folder.rewritten_files()]
    files = {os.path.basename(path): checksum(path) for path in paths if os.path.isfile(path)}
    content = {"format": _FORMAT, "files": files, "state": dict(rest)}
    atomic_write(os.path.join(staged, REST), lambda file: torch.save(content, file))
    return content


def complete(folder: AtomicFolder, content: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """Write ``trainer.zae`` once more, with what the callbacks have come to by the end of the epoch.

    Parameters
    ----------
    folder : AtomicFolder
        The folder.
    content : mapping
        What `write_manifest` returned.
    checkpoint : mapping
        The callbacks' part, plain values.
    """
    state = {**content["state"], "checkpoint": dict(checkpoint)}
    atomic_write(folder.file(REST), lambda file: torch.save({**content, "state": state}, file))


def read(folder: AtomicFolder, names: Mapping[str, str], save_format: str) -> SavedState:
    """Read a save, while another process may be writing the next one.

    Parameters
    ----------
    folder : AtomicFolder
        The folder.
    names : mapping of str to str
        The file name of each part that is wanted.
    save_format : {"ckpt", "safetensor"}
        The format of the model's file.

    Returns
    -------
    SavedState
        All of one save.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file cannot be read, or is of another save than the others.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _read_once(folder, names, save_format)
        except (FileNotFoundError, ValueError):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.05 * attempt)
    raise AssertionError  # the loop returns or raises


def _read_once(folder: AtomicFolder, names: Mapping[str, str], save_format: str) -> SavedState:
    files = {part: folder.file(name) for part, name in names.items()}
    files["rest"] = folder.file(REST)
    content = _read_rest(files["rest"]) if os.path.exists(files["rest"]) else None
    for part, name in names.items():
        if not os.path.exists(files[part]) or (content is not None and name not in content["files"]):
            there = [name for name in folder.names() if content is None or name in (*content["files"], REST)]
            raise FileNotFoundError(
                f"The {part}'s file {name!r} is missing in {folder.path!r} (there are {there}). save_state() writes "
                f"it; apply_weights(file) loads a model alone."
            )
    parts = {
        part: weights.read(file, save_format) if part == "model" else formats.read_zae(file)
        for part, file in files.items()
        if part != "rest"
    }
    rest = None if content is None else _of_one_save(folder, content, {names[part]: files[part] for part in names})
    return SavedState(parts, rest, files)


def _read_rest(filename: str) -> dict[str, Any]:
    try:
        content = torch.load(filename, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, but {_FORMAT} is expected")
        dict(content["files"]), dict(content["state"])
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(filename, "no saved state of a trainer", error)) from error
    return dict(content)


def _of_one_save(folder: AtomicFolder, content: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the rest, if the other files are those that were written with it; None if none of them is."""
    other = [name for name, file in files.items() if checksum(file) != content["files"][name]]
    if not other:
        rest: dict[str, Any] = content["state"]
        return rest
    if len(other) == len(content["files"]) or len(other) == len(files) > 1:
        warnings.warn(
            f"The files in {folder.path!r} were written after {REST}, by zae-engine 0.7.6 or one by one: they are "
            f"loaded, but progress, best loss, history and random states are not.",
            stacklevel=6,
        )
        return None
    raise ValueError(
        f"{', '.join(map(repr, other))} in {folder.path!r} is not of the same save as the other files, so that loading "
        f"them would mix two states. Bring the files of one save together; or delete {REST} if you have replaced a "
        f"file on purpose. Nothing has been loaded."
    )
