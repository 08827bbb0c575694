"""Background save: fix the content of a save at once, and write its files while training continues."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from .._protocol import TrainerProtocol
from ..utilities.exceptions import keep_exception
from .storage import formats, manifest
from .storage.atomic_folder import AtomicFolder

Writer = Callable[[str], None]
"""Writes a file of this path."""


class BackgroundSave:
    """A save whose content is fixed, so that its files can be written in another thread.

    Parameters
    ----------
    folder : AtomicFolder
        The folder.
    outdated : iterable of str
        The names of the files of the save before.

    Attributes
    ----------
    content : dict or None
        The content of ``trainer.zae``; None until the save is committed.
    """

    def __init__(self, folder: AtomicFolder, outdated: Iterable[str]) -> None:
        self.folder = folder
        self.content: dict[str, Any] | None = None
        self._outdated = list(outdated)
        self._staging = ExitStack()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Lock the folder and keep it locked until `write` has ended, unless the block raises an exception.

        Raises
        ------
        FolderInUseError
            If another trainer saves into the folder at this moment.
        """
        with ExitStack() as stack:
            self._staged = stack.enter_context(self.folder.saving(self._outdated))
            yield
            self._staging = stack.pop_all()

    def write(
        self, files: Mapping[str, Writer], rest: Mapping[str, Any], writer: Mapping[str, Any], superseded: Iterable[str]
    ) -> None:
        """Write all files and commit them; then remove the states that they supersede.

        Parameters
        ----------
        files : mapping of str to callable
            What writes the file of each name.
        rest : mapping
            The trainer's state, as plain values.
        writer : mapping
            Who saves; see `write_manifest`.
        superseded : iterable of str
            Folders of older states.
        """
        with self._staging:
            for name, write in files.items():
                write(os.path.join(self._staged, name))
            content = manifest.write_manifest(self.folder, self._staged, rest, writer)
        self.content = content
        for path in superseded:
            shutil.rmtree(path, ignore_errors=True)

    def complete(self, checkpoint: Mapping[str, Any]) -> None:
        """Rewrite ``trainer.zae`` with the states of the callbacks at the end of the epoch, if it is written."""
        if self.content is not None:
            content, self.content = self.content, None
            with suppress(OSError):  # the saved state is valid, except for these
                manifest.complete(self.folder, content, checkpoint)


def file_writers(
    model: Mapping[str, Any], others: Mapping[str, Any], names: Mapping[str, str], save_format: str
) -> dict[str, Writer]:
    """Return what writes each file of a state, from copies that further training does not change.

    Parameters
    ----------
    model : mapping
        The state dictionary of the model.
    others : mapping of str to mapping
        Those of optimizer and scheduler, by the part.
    names : mapping of str to str
        The file name of each part.
    save_format : {"ckpt", "safetensor"}
        The format of the model's file.

    Raises
    ------
    TypeError
        If the format cannot hold the model's state.
    """
    weights = formats.fixed_copy(model)
    formats.check_model(weights, save_format)
    found: dict[str, Writer] = {names["model"]: lambda path: formats.write_model(path, weights, save_format)}
    for part, state in others.items():
        found[names[part]] = _zae_writer(formats.fixed_copy(state))
    return found


def _zae_writer(state: dict[str, Any]) -> Writer:
    return lambda path: formats.write_zae(path, state)


@contextmanager
def completed_saves(trainer: TrainerProtocol) -> Iterator[None]:
    """Let saves within the block be written in the background; all are on the disk when the block ends.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    """
    run, saves = trainer._zae_state.run, trainer._zae_state.process.saves
    previous, run.waits_for_saves = run.waits_for_saves, True
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        run.waits_for_saves = previous
        with keep_exception(error):
            saves.wait()
        error = None  # a reference to this frame would keep the trainer
