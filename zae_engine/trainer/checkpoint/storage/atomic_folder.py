"""Atomic folder: replace all files of a folder at once, so that a reader finds the files of one save."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from .folder_lock import folder_lock, is_alive, is_locked

_STAGED = ".saving"
_COMMITTED = ".saved"


class AtomicFolder:
    """A folder of files that one save replaces all at once, or not at all.

    A save writes its files into a staging folder within. When all are written, the staging folder is renamed; this
    commits the save. Then its files are moved to the folder itself. A process that is killed before the commit leaves
    the old files. A process that is killed after the commit leaves the new files in the committed folder, where `file`
    finds them, and the next save moves them. One save at a time writes into a folder.

    Parameters
    ----------
    path : path
        The folder. `saving` creates it if it does not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._committed = os.path.join(self.path, _COMMITTED)
        self._stamps_before: dict[str, tuple[int, ...]] = {}

    def file(self, name: str) -> str:
        """Return the path from which to read the file of this name."""
        committed = os.path.join(self._committed, name)
        return committed if os.path.exists(committed) else os.path.join(self.path, name)

    def names(self) -> list[str]:
        """Return the names of the files."""
        found: set[str] = set()
        for folder in (self.path, self._committed):
            with suppress(FileNotFoundError, NotADirectoryError):
                found.update(name for name in os.listdir(folder) if not name.startswith("."))
        return sorted(found)

    @contextmanager
    def saving(self, outdated: Iterable[str] = ()) -> Iterator[str]:
        """Yield a staging folder for the new files, and commit them when the block ends without an exception.

        Parameters
        ----------
        outdated : iterable of str
            Names of the files of the old save. They are removed unless the new save has files of the same names.

        Raises
        ------
        FolderInUseError
            If another trainer saves into the folder at this moment.
        """
        os.makedirs(self.path, exist_ok=True)
        with self.lock(), self._saving(outdated) as staged:
            yield staged

    def lock(self) -> AbstractContextManager[None]:
        """Return a context in which nobody else saves into the folder; see `folder_lock`."""
        return folder_lock(self.path)

    def is_locked(self) -> bool:
        """Return whether somebody may be saving into the folder."""
        return is_locked(self.path)

    def stamps(self, names: Iterable[str]) -> list[tuple[int, ...]]:
        """Return values that change when files of these names are replaced."""
        paths = (os.path.join(place, name) for name in names for place in (self.path, self._committed))
        return [_stamp(path) for path in paths]

    @contextmanager
    def _saving(self, outdated: Iterable[str]) -> Iterator[str]:
        self._publish()
        self._remove_leftovers()
        self._stamps_before = {name: _stamp(os.path.join(self.path, name)) for name in outdated}
        staged = os.path.join(self.path, f"{_STAGED}-{os.getpid()}")
        os.mkdir(staged)
        try:
            yield staged
            for entry in os.scandir(staged):
                if entry.is_file():
                    with open(entry.path, "rb+") as file:
                        os.fsync(file.fileno())
            _fsync_folder(staged)
            new = set(os.listdir(staged))
            os.rename(staged, self._committed)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _fsync_folder(self.path)
        with suppress(OSError):  # the save is committed; the next save completes what fails here
            for name in self._stamps_before.keys() - new - set(self.rewritten_files()):
                with suppress(FileNotFoundError):
                    os.remove(os.path.join(self.path, name))
            self._publish()

    def rewritten_files(self) -> list[str]:
        """Return the names of the outdated files that were written directly into the folder since `saving` began."""
        stamps = ((name, _stamp(os.path.join(self.path, name))) for name in self._stamps_before)
        return [name for name, stamp in stamps if stamp not in (self._stamps_before[name], ())]

    def _publish(self) -> None:
        if os.path.isdir(self._committed):
            for name in os.listdir(self._committed):
                target = os.path.join(self.path, name)
                if os.path.isdir(target):
                    shutil.rmtree(target)
                os.replace(os.path.join(self._committed, name), target)
            os.rmdir(self._committed)
            _fsync_folder(self.path)

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self.path):
            if name.startswith(f"{_STAGED}-") and not _is_in_progress(name.rpartition("-")[2]):
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)


def _fsync_folder(folder: str) -> None:
    """Write the entries of a folder to the disk, but not the content of its files."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError:  # some file systems do not support it
            pass
        finally:
            os.close(descriptor)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def _is_in_progress(pid: str) -> bool:
    """Whether a staging folder of this process may be in use: of another one, since this one has the lock."""
    return pid.isdigit() and int(pid) != os.getpid() and is_alive(int(pid))
