"""A folder whose files are replaced together: whoever reads it finds those of one save."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

_STAGED = ".saving"
_COMMITTED = ".saved"


class AtomicFolder:
    """Writes several files so that they take the place of the old ones all at once, or not at all.

    New files are written into a folder within. When all are there, that folder is renamed, which is the moment when the
    save counts; then its files are moved out. A process that is killed before leaves the old files, one that is killed
    after leaves new ones that are read where they are, and the next save moves them out.

    Parameters
    ----------
    path : path
        The folder; it is made if it is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._committed = os.path.join(self.path, _COMMITTED)
        self._before: dict[str, tuple[int, ...]] = {}

    def file(self, name: str) -> str:
        """Return the path where a file of this name is to be read."""
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
        """Give a folder to write the new files into; when the block ends without an exception, they count.

        Parameters
        ----------
        outdated : iterable of str
            Names of files that are of the old state, and are removed where the new one has none.
        """
        os.makedirs(self.path, exist_ok=True)
        self._publish()
        self._remove_leftovers()
        self._before = {name: self._stamp(name) for name in outdated}
        staged = os.path.join(self.path, f"{_STAGED}-{os.getpid()}")
        os.mkdir(staged)
        try:
            yield staged
            for entry in os.scandir(staged):
                if entry.is_file():
                    with open(entry.path, "rb+") as file:
                        os.fsync(file.fileno())
            _flush(staged)
            new = set(os.listdir(staged))
            os.rename(staged, self._committed)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _flush(self.path)
        with suppress(OSError):  # it counts already; the next save does what is left
            for name in self._before.keys() - new - set(self.rewritten_files()):
                with suppress(FileNotFoundError):
                    os.remove(os.path.join(self.path, name))
            self._publish()

    def rewritten_files(self) -> list[str]:
        """Return which of the old files somebody has written anew in their place, while saving."""
        return [name for name, stamp in self._before.items() if self._stamp(name) not in (stamp, ())]

    def _stamp(self, name: str) -> tuple[int, ...]:
        try:
            found = os.stat(os.path.join(self.path, name))
        except FileNotFoundError:
            return ()
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def _publish(self) -> None:
        if os.path.isdir(self._committed):
            for name in os.listdir(self._committed):
                place = os.path.join(self.path, name)
                if os.path.isdir(place):
                    shutil.rmtree(place)
                os.replace(os.path.join(self._committed, name), place)
            os.rmdir(self._committed)
            _flush(self.path)

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self.path):
            if name.startswith(f"{_STAGED}-") and not _is_alive(name.rpartition("-")[2]):
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)


def checksum(filename: str | os.PathLike[str]) -> dict[str, int]:
    """Return what tells whether a file is the one that was written: its size in bytes and its CRC-32.

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


def _flush(folder: str) -> None:
    """Have the system write to the disk what stands in a folder; the files themselves are written already."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError:  # some file systems cannot
            pass
        finally:
            os.close(descriptor)


def _is_alive(pid: str) -> bool:
    if os.name != "posix" or not pid.isdigit() or int(pid) == os.getpid():  # elsewhere, asking would end it
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
