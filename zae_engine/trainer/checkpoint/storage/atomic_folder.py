"""Atomic folder: replace all files of a folder at once, so that a reader finds the files of one save."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

_STAGED = ".saving"
_COMMITTED = ".saved"


class AtomicFolder:
    """A folder of files that one save replaces all at once, or not at all.

    A save writes its files into a staging folder within. When all are written, the staging folder is renamed; this
    commits the save. Then its files are moved to the folder itself. A process that is killed before the commit leaves
    the old files. A process that is killed after the commit leaves the new files in the committed folder, where `file`
    finds them, and the next save moves them.

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
        """
        os.makedirs(self.path, exist_ok=True)
        self._publish()
        self._remove_leftovers()
        self._stamps_before = {name: self._stamp(name) for name in outdated}
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
        return [name for name, stamp in self._stamps_before.items() if self._stamp(name) not in (stamp, ())]

    def _stamp(self, name: str) -> tuple[int, ...]:
        try:
            status = os.stat(os.path.join(self.path, name))
        except FileNotFoundError:
            return ()
        return (status.st_mtime_ns, status.st_ino, status.st_size)

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
            if name.startswith(f"{_STAGED}-") and not _is_alive(name.rpartition("-")[2]):
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)


def checksum(filename: str | os.PathLike[str]) -> dict[str, int]:
    """Return the size of a file in bytes and its CRC-32, which identify its content.

    Parameters
    ----------
    filename : path
        The file.
    """
    crc = size = 0
    with open(filename, "rb") as file:
        while block := file.read(1 << 20):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return {"size": size, "crc32": crc}


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


def _is_alive(pid: str) -> bool:
    if os.name != "posix" or not pid.isdigit() or int(pid) == os.getpid():  # on Windows, os.kill ends the process
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
