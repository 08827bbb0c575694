"""Integrity: find damage in a file before its content is used."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, BinaryIO

_SEAL = struct.Struct("<I32s8s")  # the length of the note, the SHA-256 of all bytes up to here, and a constant
_MAGIC = b"zae:seal"
_ZIP_START, _ZIP_END = b"PK\x03\x04", b"PK\x05\x06"
_ZIP_END_SIZE = 22


class DamagedFileError(ValueError):
    """A file has other bytes than those that were written."""


def checksum(filename: str | os.PathLike[str]) -> dict[str, int]:
    """Return the size of a file in bytes and its CRC-32, which identify its content.

    Parameters
    ----------
    filename : path
        The file.
    """
    with open(filename, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return {"size": size, "crc32": reduce(lambda crc, block: zlib.crc32(block, crc), _blocks(file, size), 0)}


def write_sealed(file: BinaryIO, write: Callable[[Any], Any], note: Mapping[str, Any] | None = None) -> None:
    """Write a file that ends with a seal: a checksum of every bit before it. `torch.load` and `pickle.load` ignore it.

    The checksum is no CRC: all files that end with their own CRC have the same CRC.

    Parameters
    ----------
    file : binary file
        The open file, which is empty.
    write : callable
        Writes the content; called with a file whose method ``write`` appends.
    note : mapping, optional
        What `read_note` returns without reading the content. It can be written as JSON.
    """
    sealed = _HashingWriter(file)
    write(sealed)
    text = json.dumps(dict(note)).encode() if note else b""
    sealed.write(text)
    sealed.write(struct.pack("<I", len(text)))
    file.write(_SEAL.pack(len(text), sealed.hash.digest(), _MAGIC)[4:])


def verify_seal(filename: str | os.PathLike[str]) -> bool:
    """Verify every bit of a file that ends with a seal.

    Returns
    -------
    bool
        Whether the file ends with a seal.

    Raises
    ------
    DamagedFileError
        If the checksum in the seal is not that of the file.
    """
    with open(filename, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        seal = _seal(file, size)
        if seal is None:
            return False
        file.seek(0)
        content = hashlib.sha256()
        for block in _blocks(file, size - _SEAL.size + 4):
            content.update(block)
        if content.digest() != seal[1]:
            raise DamagedFileError("it is damaged: its checksum is not the one with which it was written")
    return True


def read_note(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the note of a sealed file; an empty dict if there is none that can be read."""
    try:
        with open(filename, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            seal = _seal(file, size)
            if seal is None or not 0 < seal[0] <= size - _SEAL.size:
                return {}
            file.seek(size - _SEAL.size - seal[0])
            note = json.loads(file.read(seal[0]))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def check_zip(file: str | os.PathLike[str] | BinaryIO) -> None:
    """Compare the checksums within a file of `torch.save`, which `torch.load` ignores, with the data.

    A zip file has a checksum for each of its members, but none for the bytes between them, which hold no data. Files
    of other formats, and files that torch wrote without checksums, pass.

    Parameters
    ----------
    file : path or binary file
        The file. An open file keeps its position.

    Raises
    ------
    DamagedFileError
        If the data do not match, or something follows the end of the zip file.
    """
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            check_zip(opened)
        return
    position = file.tell()
    try:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return
        with zipfile.ZipFile(file) as archive:
            file.seek(-_ZIP_END_SIZE - len(archive.comment), os.SEEK_END)
            if file.read(len(_ZIP_END)) != _ZIP_END:
                raise DamagedFileError("it is damaged: it does not end where its content ends")
            has_checksums = any(member.CRC for member in archive.infolist())
            if has_checksums and (name := archive.testzip()) is not None:
                raise DamagedFileError(f"it is damaged: the checksum of {name!r} within is wrong")
    except DamagedFileError:
        raise
    except Exception as error:  # zipfile raises errors of many types for damaged headers
        raise DamagedFileError(f"it is damaged: {error}") from error
    finally:
        file.seek(position)


class _HashingWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _seal(file: BinaryIO, size: int) -> tuple[int, bytes] | None:
    if size < _SEAL.size:
        return None
    file.seek(size - _SEAL.size)
    length, digest, magic = _SEAL.unpack(file.read(_SEAL.size))
    return (length, digest) if magic == _MAGIC else None


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, 1 << 20))):
        size -= len(block)
        yield block
