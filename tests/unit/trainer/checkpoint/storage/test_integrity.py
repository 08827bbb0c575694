"""Integrity: a seal covers every bit of a file, and the checksums within a zip file are compared."""

from __future__ import annotations

import io
import pickle
import random
import zipfile

import pytest
import torch

from zae_engine.trainer.checkpoint.storage.integrity import (
    DamagedFileError,
    check_zip,
    checksum,
    read_note,
    verify_seal,
    write_sealed,
)


def sealed(path, content=b"content", note=None):
    with open(path, "wb") as file:
        write_sealed(file, lambda opened: opened.write(content), note)
    return path


def test_every_bit_of_a_sealed_file_is_covered(tmp_path):
    path = sealed(tmp_path / "file", note={"a": 1})
    whole = path.read_bytes()
    assert verify_seal(path)
    for place in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(changed))
        try:
            assert not verify_seal(path)  # the caller, who knows that there was one, refuses the file
            assert place // 8 >= len(whole) - 8
        except DamagedFileError:
            pass


def test_files_without_a_seal_are_told_apart(tmp_path):
    path = tmp_path / "file"
    for content in (b"", b"short", bytes(1000)):
        path.write_bytes(content)
        assert not verify_seal(path)
        assert read_note(path) == {}


def test_the_note_is_read_without_the_content(tmp_path):
    path = sealed(tmp_path / "file", note={"pid": 3, "host": "näme"})
    assert read_note(path) == {"pid": 3, "host": "näme"}
    assert read_note(sealed(tmp_path / "file")) == {}
    assert read_note(tmp_path / "missing") == {}


def test_torch_and_pickle_read_a_sealed_file(tmp_path):
    with open(tmp_path / "torch", "wb") as file:
        write_sealed(file, lambda opened: torch.save({"a": torch.ones(3)}, opened), {"note": 1})
    assert torch.load(tmp_path / "torch", weights_only=True)["a"].tolist() == [1, 1, 1]
    sealed(tmp_path / "pickle", pickle.dumps([1, 2]))
    with open(tmp_path / "pickle", "rb") as file:
        assert pickle.load(file) == [1, 2]


def test_two_sealed_files_of_one_size_have_two_checksums(tmp_path):
    """All files that end with their own CRC have one and the same CRC."""
    assert checksum(sealed(tmp_path / "a", b"1")) != checksum(sealed(tmp_path / "b", b"2"))


@pytest.fixture
def saved():
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(8.0), "b": "text"}, buffer)
    return buffer.getvalue()


def test_a_whole_file_of_torch_passes_and_an_open_file_keeps_its_position(tmp_path, saved):
    (tmp_path / "file").write_bytes(saved)
    check_zip(tmp_path / "file")
    file = io.BytesIO(saved)
    check_zip(file)
    assert file.tell() == 0
    check_zip(io.BytesIO(pickle.dumps([1])))  # no zip file


def test_no_other_value_is_read_from_a_zip_file_that_passes(saved):
    expected, luck, refused = torch.load(io.BytesIO(saved), weights_only=True), random.Random(0), 0
    for _ in range(400):
        place = luck.randrange(len(saved) * 8)
        changed = bytearray(saved)
        changed[place // 8] ^= 1 << place % 8
        try:
            check_zip(io.BytesIO(changed))
            state = torch.load(io.BytesIO(changed), weights_only=True)
        except Exception:
            refused += 1
        else:
            assert state["b"] == "text"
            assert torch.equal(state["a"], expected["a"])
    assert refused > 100


@pytest.mark.parametrize("end", [b"\0", b"more", bytes(100)])
def test_what_follows_the_end_of_a_zip_file_is_damage(saved, end):
    with pytest.raises(DamagedFileError, match="does not end where its content ends"):
        check_zip(io.BytesIO(saved + end))


def test_a_comment_of_a_zip_file_is_part_of_it(saved):
    file = io.BytesIO(saved)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"trained on Tuesday"
    check_zip(file)


def test_a_cut_zip_file_is_damaged(saved):
    for length in (10, len(saved) // 2, len(saved) - 1):
        with pytest.raises(DamagedFileError):
            check_zip(io.BytesIO(saved[:length]))


def test_a_checksum_identifies_the_content(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * ((1 << 20) + 3))
    first = checksum(file)
    assert first["size"] == (1 << 20) + 3
    file.write_bytes(b"x" * ((1 << 20) + 2) + b"y")
    assert checksum(file) != first
    file.write_bytes(b"")
    assert checksum(file) == {"size": 0, "crc32": 0}
