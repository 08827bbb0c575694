"""Fetch: download a copy of zae-engine 0.7.6 into the current environment, verify it, and remove it."""

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
BESIDE = f".{places.FOLDER}-"  # the prefix of temporary folders


class LegacyError(RuntimeError):
    """A failure to install or remove the copy. The message says the reason and what to do."""


def install(wheel: str | None = None) -> str:
    """Install a copy of 0.7.6 next to this package, completely or not at all.

    Parameters
    ----------
    wheel : str, optional
        The path of a downloaded wheel; by default pip downloads it.

    Returns
    -------
    str
        The folder of the copy. If a complete copy exists, it is not replaced.

    Raises
    ------
    LegacyError
        If the file cannot be downloaded or is not 0.7.6, or no folder of the environment is writable.
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
        return _move_into_place(fresh, os.path.join(home, places.FOLDER))


def remove() -> list[str]:
    """Delete the copies that `install` has created, and temporary folders of killed commands.

    Returns
    -------
    list of str
        The folders of the deleted copies.

    Raises
    ------
    LegacyError
        If a copy cannot be deleted.
    """
    removed = []
    for home in places.homes():
        for leftover in glob.glob(os.path.join(glob.escape(home), f"{BESIDE}*")):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = os.path.join(home, places.FOLDER)
        if not os.path.isdir(folder):
            continue
        try:
            with _scratch(home) as scratch:
                os.rename(folder, os.path.join(scratch, places.FOLDER))  # atomic: an import never finds half a copy
        except OSError as error:
            raise LegacyError(f"{folder} cannot be deleted ({error}); delete it with the rights it needs.") from error
        removed.append(folder)
    return removed


def is_whole(folder: str) -> bool:
    """Whether a folder contains all files of the wheel, unchanged."""
    record = os.path.join(folder, f"zae_engine-{places.VERSION}.dist-info", "RECORD")
    try:
        with open(record, encoding="utf-8", newline="") as file:
            expected = {name: digest for name, digest, _ in csv.reader(file) if digest}
        return all(_digest(os.path.join(folder, name)) == digest for name, digest in expected.items())
    except (OSError, ValueError):
        return False


def _digest(path: str) -> str:
    """Return the checksum of a file in the format of a wheel's RECORD."""
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
    """Yield a temporary folder within ``home``, on the same file system, and delete it afterwards."""
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


def _move_into_place(fresh: str, folder: str) -> str:
    try:
        if os.path.isdir(folder) and not is_whole(folder):
            os.rename(folder, f"{fresh}-broken")
        os.rename(fresh, folder)
    except OSError as error:
        if not is_whole(folder):  # a complete copy comes from a concurrent command
            raise LegacyError(f"{folder} cannot be written ({error}).") from error
    return folder
