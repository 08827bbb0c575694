"""Writing files so that whoever reads one finds it whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO


def atomic_write(filename: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside and put it in its place: whoever reads finds the old one or the new one, whole.

    Parameters
    ----------
    filename : path
        The file; behind a link, the one that it leads to.
    write : callable
        Called with the open file.
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
        refused = os_error_cause(error)
        if refused is not None and refused is not error:
            raise refused from None
        raise


def os_error_cause(error: BaseException | None) -> OSError | None:
    """Return what the system refused, a write to a full disk for instance, where an exception comes from that.

    Parameters
    ----------
    error : BaseException or None
        What was raised. `torch.save` hides the reason behind a `RuntimeError`.

    Returns
    -------
    OSError or None
        The reason; None if it is something else.
    """
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError):
        reason = os_error_cause(error.__context__)
        if reason is None and "inline_container" in str(error):  # torch's file writer, which does not say more
            reason = OSError(str(error).splitlines()[0])
        return reason
    return None


def unreadable(filename: str | os.PathLike[str], what: str, error: Exception) -> str:
    """Return a message about a file that cannot be read.

    Parameters
    ----------
    filename : path
        The file.
    what : str
        What it is not, ``"no saved state"`` for instance.
    error : Exception
        What came of reading it.
    """
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{os.fspath(filename)!r} is {what} ({type(error).__name__}: {reason}). Nothing has been loaded."
