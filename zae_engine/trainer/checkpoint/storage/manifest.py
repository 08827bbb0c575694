"""Manifest: the file ``trainer.zae``, which lists the files of one save and contains the trainer's state.

It holds the checksums of the other files and ends with a seal of its own, so that no bit can change unnoticed.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...utilities.atomic_io import atomic_write, unreadable
from .. import weights
from . import formats
from .atomic_folder import AtomicFolder
from .integrity import DamagedFileError, check_zip, checksum, read_note, verify_seal, write_sealed

REST = "trainer.zae"
_FORMAT = 1
_WRITER = "writer"  # a file with this key ends with a seal; earlier versions wrote neither
_ATTEMPTS = 4


@dataclass
class SavedState:
    """The content of one save.

    Attributes
    ----------
    parts : dict of str to dict
        The states of model, optimizer and scheduler.
    rest : dict or None
        The rest of the trainer's state, see `trainer_state_dict`; None if zae-engine 0.7.6 wrote the files, or if they
        were written one by one.
    files : dict of str to str
        The path of each part's file, and of ``"rest"``.
    """

    parts: dict[str, dict[str, Any]]
    rest: dict[str, Any] | None
    files: dict[str, str]


@dataclass
class SaveStatus:
    """The progress and the outcome of a trainer's saves.

    Attributes
    ----------
    staged : str or None
        The staging folder of the current save.
    has_failed : bool
        Whether the latest save after a better epoch failed.
    is_stopped : bool
        Whether SIGTERM stopped the run that wrote the loaded state, or stops this run.
    to_complete : callable or None
        Rewrites ``trainer.zae`` with the states of the callbacks at the end of the epoch; see `complete`.
    saved_epoch : int or None
        The epoch whose state was saved last as that of a better epoch.
    note : dict of str to object
        What the note of the current save holds beside its writer; see `zae_engine.trainer.checkpoint.storage.latest`.
    """

    staged: str | None = None
    has_failed: bool = False
    is_stopped: bool = False
    to_complete: Callable[[Mapping[str, Any]], None] | None = None
    saved_epoch: int | None = None
    note: dict[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the current epoch."""
        return {**vars(self), "staged": None, "to_complete": None, "note": {}}


def write_manifest(
    folder: AtomicFolder, staged: str, rest: Mapping[str, Any], writer: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``trainer.zae`` with the checksums of the other files of a save.

    Parameters
    ----------
    folder : AtomicFolder
        The folder, within its `saving` block.
    staged : str
        The staging folder, which contains the other files.
    rest : mapping
        The trainer's state, as plain values.
    writer : mapping
        Who saves, as plain values. `writer_of` returns it without reading the state.

    Returns
    -------
    dict
        The content of the file.
    """
    paths = [os.path.join(staged, name) for name in sorted(os.listdir(staged)) if name != REST]
    paths += [os.path.join(folder.path, name) for name in folder.rewritten_files()]
    files = {os.path.basename(path): checksum(path) for path in paths if os.path.isfile(path)}
    content = {"format": _FORMAT, "files": files, "state": dict(rest), _WRITER: dict(writer)}
    _write(os.path.join(staged, REST), content)
    return content


def complete(folder: AtomicFolder, content: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """Rewrite ``trainer.zae`` with the states of the callbacks at the end of the epoch.

    Nothing is written if another trainer has saved since.

    Parameters
    ----------
    folder : AtomicFolder
        The folder.
    content : mapping
        What `write_manifest` returned.
    checkpoint : mapping
        The states of the callbacks, as plain values.
    """
    state = {**content["state"], "checkpoint": dict(checkpoint)}
    with folder.lock():
        if writer_of(folder) == content[_WRITER]:
            _write(folder.file(REST), {**content, "state": state})


def writer_of(folder: AtomicFolder) -> dict[str, Any]:
    """Return who wrote the save in a folder: the mapping that `write_manifest` received, or an empty one."""
    return read_note(folder.file(REST))


def _write(filename: str, content: Mapping[str, Any]) -> None:
    atomic_write(
        filename, lambda file: write_sealed(file, lambda sealed: torch.save(content, sealed), content[_WRITER])
    )


def read(folder: AtomicFolder, names: Mapping[str, str], save_format: str) -> SavedState:
    """Read one save. Another process may write the next save at the same time; then reading is repeated.

    Parameters
    ----------
    folder : AtomicFolder
        The folder.
    names : mapping of str to str
        The file name of each part to read.
    save_format : {"ckpt", "safetensor"}
        The format of the model's file.

    Returns
    -------
    SavedState
        The content of the save.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file cannot be read, or belongs to another save than the others.
    """
    watched = [*names.values(), REST]
    for attempt in range(_ATTEMPTS):
        stamps = folder.stamps(watched)
        try:
            saved = _read_once(folder, names, save_format)
        except (FileNotFoundError, ValueError):
            is_stable = folder.stamps(watched) == stamps and not folder.is_locked()
            if is_stable or attempt == _ATTEMPTS - 1:
                raise
        else:
            if folder.stamps(watched) == stamps:
                if saved.rest is None and REST in folder.names():
                    warnings.warn(
                        f"The files in {folder.path!r} were written after {REST}, by zae-engine 0.7.6 or one by one: "
                        f"they are loaded, but progress, best loss, history and random states are not.",
                        stacklevel=3,
                    )
                return saved
        time.sleep(0.05 * attempt)
    raise ValueError(
        f"The files in {folder.path!r} are replaced again and again while they are read. Nothing has been loaded."
    )


def _read_once(folder: AtomicFolder, names: Mapping[str, str], save_format: str) -> SavedState:
    files = {part: folder.file(name) for part, name in names.items()}
    files["rest"] = folder.file(REST)
    content = _read_manifest(files["rest"]) if os.path.exists(files["rest"]) else None
    for part, name in names.items():
        if not os.path.exists(files[part]) or (content is not None and name not in content["files"]):
            present = [name for name in folder.names() if content is None or name in (*content["files"], REST)]
            raise FileNotFoundError(
                f"The {part}'s file {name!r} is missing in {folder.path!r}, which has {present}. save_state() writes "
                f"it; apply_weights(file) loads a model alone."
            )
    is_of_this_save = content is not None and _are_verified(
        folder, content, {names[part]: files[part] for part in names}
    )
    parts = {
        part: weights.read(file, save_format, is_verified=is_of_this_save)
        if part == "model"
        else formats.read_zae(file)
        for part, file in files.items()
        if part != "rest"
    }
    return SavedState(parts, content["state"] if content is not None and is_of_this_save else None, files)


def _read_manifest(filename: str) -> dict[str, Any]:
    try:
        is_sealed = verify_seal(filename)
        if not is_sealed:
            check_zip(filename)
        content = torch.load(filename, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, but {_FORMAT} is expected")
        if _WRITER in content and not is_sealed:
            raise DamagedFileError("it is damaged: its end is missing")
        dict(content["files"]), dict(content["state"])
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(filename, "no saved state of a trainer", error)) from error
    return dict(content)


def _are_verified(folder: AtomicFolder, content: Mapping[str, Any], files: Mapping[str, str]) -> bool:
    """Return whether all other files match their checksums; False if all have been written since.

    Raises
    ------
    ValueError
        If some files match and others do not, or the only file does not.
    """
    changed = [name for name, file in files.items() if checksum(file) != content["files"][name]]
    if not changed:
        return True
    if len(changed) == len(files) > 1:
        return False
    raise ValueError(
        f"{', '.join(map(repr, changed))} in {folder.path!r} is not of the same save as the other files, or is "
        f"damaged: its checksum is another one than {REST} holds. Bring the files of one save together; or delete "
        f"{REST} if you have replaced a file on purpose. Nothing has been loaded."
    )
