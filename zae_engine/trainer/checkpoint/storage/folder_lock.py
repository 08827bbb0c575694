"""Folder lock: let one trainer at a time save into a folder, and tell which one does."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EBADF}
_held: set[tuple[int, str]] = set()
_held_guard = threading.Lock()


class FolderInUseError(OSError):
    """Another trainer saves into the folder."""


@dataclass(frozen=True)
class Writer:
    """A process that saves into a folder.

    Attributes
    ----------
    pid : int
        The number of the process.
    host : str
        The machine.
    started : str
        When the process started, in the system's own unit; empty if unknown. It tells two processes with one number
        apart.
    """

    pid: int
    host: str
    started: str

    @classmethod
    def current(cls) -> Writer:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname(), _start_of(os.getpid()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Writer | None:
        """Return the process that `to_dict` described; None for anything else."""
        pid, host, started = (values.get(key) for key in ("pid", "host", "started"))
        is_valid = isinstance(pid, int) and isinstance(host, str) and isinstance(started, str)
        return cls(pid, host, started) if is_valid else None  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def is_current(self) -> bool:
        """Return whether it is this process."""
        return self == Writer.current()

    def is_alive(self) -> bool:
        """Return whether the process is known to be alive. Nothing is known of another machine."""
        return self.host == socket.gethostname() and is_alive(self.pid) and _start_of(self.pid) in (self.started, "")

    def __str__(self) -> str:
        return f"{'this process' if self.is_current() else 'process'} ({self.pid} on {self.host})"


@contextmanager
def folder_lock(folder: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs.

    The operating system owns the lock and releases it when the process ends, however it ends: no lock outlives its
    process. The file ``.lock`` exists while the block runs; it says who holds the lock. A file that a killed process
    has left means nothing. Where the file system has no locks, trainers of other machines are not noticed.

    Parameters
    ----------
    folder : str
        The folder, which exists.

    Raises
    ------
    FolderInUseError
        If another trainer holds the lock, in this process or in another one.
    OSError
        If the system refuses.
    """
    path = os.path.join(os.path.realpath(folder), LOCK)
    held = (os.getpid(), path)  # a process that is forked meanwhile holds nothing
    with _held_guard:
        if held in _held:
            raise FolderInUseError(_refusal(folder, Writer.current()))
        _held.add(held)
    try:
        descriptor = _acquire(folder, path)
        try:
            yield
        finally:
            try:
                with suppress(OSError):
                    os.remove(path)  # before the lock is released, so that no other trainer's file is removed
            finally:
                if fcntl is not None:  # a process that was forked meanwhile has this descriptor too
                    with suppress(OSError):
                        fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
    finally:
        with _held_guard:
            _held.discard(held)


def is_locked(folder: str) -> bool:
    """Return whether somebody saves into the folder, as far as its lock file tells."""
    return os.path.exists(os.path.join(folder, LOCK))


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine is alive."""
    if os.name != "posix":  # on Windows, os.kill ends the process
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _acquire(folder: str, path: str) -> int:
    """Return the descriptor of the lock file, with the lock."""
    while True:
        descriptor = _open(path)
        try:
            if not _try_lock(descriptor):
                raise FolderInUseError(_refusal(folder, _holder(path)))
            if _is_same_file(descriptor, path):
                with suppress(OSError):  # a full disk: the lock holds all the same
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(Writer.current().to_dict()).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the previous holder has removed this file


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's, of a process that was killed
        return os.open(path, os.O_RDONLY)


def _try_lock(descriptor: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            raise
    with suppress(OSError, ValueError):  # no locks here: go by what the file says
        holder = Writer.from_dict(json.loads(os.read(descriptor, 4096)))
        return holder is None or holder.is_current() or not holder.is_alive()
    return True


def _holder(path: str) -> Writer | None:
    try:
        with open(path, "rb") as file:
            return Writer.from_dict(json.loads(file.read()))
    except (OSError, ValueError, AttributeError):  # it begins or ends right now
        return None


def _refusal(folder: str, holder: Writer | None) -> str:
    return (
        f"Another trainer saves into {folder!r} at this moment, in {holder or 'another process'}. Nothing has been "
        f"written. Give each trainer a save_path of its own; or save again when the other one has finished."
    )


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _start_of(pid: int) -> str:
    """Return when a process started, in clock ticks since the machine did; empty where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
