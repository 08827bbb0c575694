"""Writers: which trainer saved the state in a folder, and whether a save of another trainer may replace it."""

from __future__ import annotations

import os
import secrets
import warnings
import weakref
from dataclasses import dataclass, field
from typing import Any

from .atomic_folder import AtomicFolder
from .folder_lock import FolderInUseError, Writer
from .manifest import writer_of

_latest: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()  # by the folder


@dataclass
class WriterIdentity:
    """What tells a trainer from others that save into its folder. Copies in other processes have the same.

    Attributes
    ----------
    trainer : str
        A random name.
    continued : str or None
        The name of the trainer whose state was loaded.
    has_warned : bool
        Whether the user has been warned that another trainer's state is replaced.
    """

    trainer: str = field(default_factory=lambda: secrets.token_hex(8))
    continued: str | None = None
    has_warned: bool = False

    def note(self) -> dict[str, Any]:
        """Return the writer of a new save, as plain values."""
        return {**Writer.current().to_dict(), "trainer": self.trainer, "save": secrets.token_hex(8)}

    def has_loaded(self, folder: AtomicFolder) -> None:
        """Remember that the state in a folder was loaded: a save that replaces it continues it."""
        self.continued = writer_of(folder).get("trainer")


def check_other_writer(folder: AtomicFolder, trainer: Any, identity: WriterIdentity) -> None:
    """Refuse, or warn, before a save replaces the state of another trainer that still exists.

    A trainer that has ended, or whose state was loaded, is no obstacle: training continues in its folder, in a new
    process or with a new trainer. Processes of other machines are not noticed.

    Parameters
    ----------
    folder : AtomicFolder
        The folder, within its `saving` block.
    trainer : Trainer
        The trainer that saves.
    identity : WriterIdentity
        Its identity.

    Raises
    ------
    FolderInUseError
        If the other trainer is of this process, and in a run.
    """
    note = writer_of(folder)
    writer = Writer.from_dict(note)
    if writer is None:
        return
    if writer.is_current():
        other = _latest.get(os.path.realpath(folder.path))
        if other is None or other is trainer:
            return
        if other._zae_state.run.depth:
            raise FolderInUseError(
                f"{folder.path!r} holds the state of another trainer of {writer}, which is in a run. Nothing has been "
                f"written. Give each trainer a save_path of its own; or save again when that run has ended."
            )
    elif note.get("trainer") == identity.trainer or not writer.is_alive():
        return
    if identity.has_warned or note.get("trainer") == identity.continued:
        return
    identity.has_warned = True
    warnings.warn(
        f"{folder.path!r} holds the state of another trainer, of {writer}, which still exists: this trainer replaces "
        f"it, now and with every later save. Give each trainer a save_path of its own; or call load_state() first, to "
        f"continue from that state.",
        stacklevel=4,
    )


def record_writer(folder: AtomicFolder, trainer: Any) -> None:
    """Remember that a trainer of this process has saved into a folder, as long as it exists."""
    _latest[os.path.realpath(folder.path)] = trainer
