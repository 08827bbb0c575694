"""Writing files so that whoever reads one finds it whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO


def replace_file(filename: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside and put it in its place: whoever reads finds the old one or the new one, whole.

    Parameters
    ----------
    filename : path
        The file; behind a link, the one that it leads to.
    write : callable
        Called with the open file.
    """
    filename = os.path.realpath(filename)
    beside = f"{filename}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, filename)
    except BaseException:
        if os.path.exists(beside):
            os.remove(beside)
        raise
