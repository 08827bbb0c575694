"""Fetching a copy of zae-engine 0.7.6 into the current environment, looking at it, and taking it away."""

from __future__ import annotations

import base64
import csv
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import places

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = f"zae_engine-{places.VERSION}-py3-none-any.whl"
SHA256 = "50f642ded42196041bfcaaeacf5698109f7cb0e080096e0d02f0a7440e33deef"
BESIDE = f".{places.FOLDER}-"  # how the names of folders begin that are being written or deleted


class LegacyError(RuntimeError):
    """The copy could not be fetched or removed; the message says why and what to do."""


def install(wheel: str | None = None) -> str:
    """Put a copy of 0.7.6 beside this package, whole or not at all.

    Parameters
    ----------
    wheel : str, optional
        A file that was downloaded before; without it pip downloads it.

    Returns
    -------
    str
        The folder of the copy. If a whole copy is there already, nothing is done.

    Raises
    ------
    LegacyError
        If the file cannot be had or is not 0.7.6, or no folder of the environment can be written to.
    """
    for home in places.homes():
        if is_whole(folder := os.path.join(home, places.FOLDER)):
            return folder
    home = _writable_home()
    with _scratch(home) as scratch:
        _check(wheel := wheel or _download(scratch))
        fresh = os.path.join(scratch, places.FOLDER)
        os.mkdir(fresh)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(fresh)
        return _put_in_place(fresh, os.path.join(home, places.FOLDER))


def remove() -> list[str]:
    """Delete the copies that `install` has put there, and what killed commands have left; return the copies' folders.

    Raises
    ------
    LegacyError
        If one cannot be deleted.
    """
    removed = []
    for home in places.homes():
        for killed in glob.glob(os.path.join(glob.escape(home), f"{BESIDE}*")):
            shutil.rmtree(killed, ignore_errors=True)
        folder = os.path.join(home, places.FOLDER)
        if not os.path.isdir(folder):
            continue
        try:
            with _scratch(home) as scratch:
                os.rename(folder, os.path.join(scratch, places.FOLDER))  # at once, so that no part of it is imported
        except OSError as error:
            raise LegacyError(f"{folder} cannot be deleted ({error}); delete it with the rights it needs.") from error
        removed.append(folder)
    return removed


def is_whole(folder: str) -> bool:
    """Whether all files of the wheel lie in a folder, as they were in it."""
    record = os.path.join(folder, f"zae_engine-{places.VERSION}.dist-info", "RECORD")
    try:
        with open(record, encoding="utf-8", newline="") as file:
            expected = {name: digest for name, digest, _ in csv.reader(file) if digest}
        return all(_digest(os.path.join(folder, name)) == digest for name, digest in expected.items())
    except (OSError, ValueError):
        return False


def _digest(path: str) -> str:
    """Return a file's checksum as wheels record it."""
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _writable_home() -> str:
    homes = places.homes()
    for home in homes:
        if os.path.isdir(home) and os.access(home, os.W_OK):
            return home
    raise LegacyError(
        f"{' and '.join(homes)} cannot be written to. Put zae-engine {places.VERSION} into a folder of yours, "
        f"`pip install --no-deps --target FOLDER zae-engine=={places.VERSION}`, and set {places.VARIABLE}=FOLDER."
    )


@contextmanager
def _scratch(home: str) -> Iterator[str]:
    """Give a new folder within `home`, on the same file system, and take it away again."""
    try:
        scratch = tempfile.mkdtemp(prefix=BESIDE, dir=home)
    except OSError as error:
        raise LegacyError(f"{home} cannot be written to ({error}).") from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(folder: str) -> str:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--quiet"]
    command += ["--only-binary=:all:", "--dest", folder, f"zae-engine=={places.VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LegacyError(
            f"pip could not download zae-engine {places.VERSION}:\n{done.stderr.strip()}\n"
            f"Fetch {WHEEL} from PyPI elsewhere, and give its path: `python -m zae_engine.legacy install {WHEEL}`."
        )
    return os.path.join(folder, WHEEL)


def _check(wheel: str) -> None:
    try:
        with open(wheel, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise LegacyError(f"{wheel} cannot be read ({error}); the file {WHEEL} was expected.") from error
    if digest != SHA256:
        raise LegacyError(
            f"{wheel} has the checksum {digest}, not {SHA256}: it is not {WHEEL} as it stands on PyPI, and is not used."
        )


def _put_in_place(fresh: str, folder: str) -> str:
    try:
        if os.path.isdir(folder) and not is_whole(folder):
            os.rename(folder, f"{fresh}-broken")
        os.rename(fresh, folder)
    except OSError as error:
        if not is_whole(folder):  # if it is, the same command has run elsewhere, and was faster
            raise LegacyError(f"{folder} cannot be written ({error}).") from error
    return folder
