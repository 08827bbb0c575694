"""Atomic I/O: write a file completely or not at all, and explain failures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO


def atomic_write(filename: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a temporary file in the same folder and rename it, so that a reader finds the old or the new file complete.

    Parameters
    ----------
    filename : path
        The file. If it is a symbolic link, the target is replaced.
    write : callable
        Called with the open temporary file.

    Raises
    ------
    OSError
        If the system refuses the write. The old file stays, and the temporary file is removed.
    """
    filename = os.path.realpath(filename)
    temporary = f"{filename}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, filename)
    except BaseException as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        cause = os_error_cause(error)
        if cause is not None and cause is not error:
            raise cause from None
        raise


def os_error_cause(error: BaseException | None) -> OSError | None:
    """Return the error of the operating system behind an exception, that of a full disk for instance.

    Parameters
    ----------
    error : BaseException or None
        The exception. `torch.save` replaces an `OSError` by a `RuntimeError`.

    Returns
    -------
    OSError or None
        The error of the operating system; None if the exception has another cause.
    """
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError):
        cause = os_error_cause(error.__context__)
        if cause is None and "inline_container" in str(error):  # torch's file writer, which raises no OSError
            cause = OSError(str(error).splitlines()[0])
        return cause
    return None


def unreadable(filename: str | os.PathLike[str], what: str, error: Exception) -> str:
    """Return the message for a file that cannot be read.

    Parameters
    ----------
    filename : path
        The file.
    what : str
        What the file is not, ``"no saved state"`` for instance.
    error : Exception
        The error that reading the file raised.
    """
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{os.fspath(filename)!r} is {what} ({type(error).__name__}: {reason}). Nothing has been loaded."
