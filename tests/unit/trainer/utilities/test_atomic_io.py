"""Atomic I/O: a file is replaced completely or not at all, and errors give their cause."""

from __future__ import annotations

import os

import pytest
import torch

from zae_engine.trainer.utilities.atomic_io import atomic_write, os_error_cause, unreadable


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def names(file):
    return os.listdir(file.parent)


def test_a_file_is_replaced(file):
    atomic_write(file, lambda opened: opened.write(b"new"))
    assert file.read_bytes() == b"new"
    assert names(file) == ["file"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_the_old_file_stays_if_writing_fails(file, error):
    def write(opened):
        opened.write(b"half")
        raise error

    with pytest.raises(type(error)):
        atomic_write(file, write)
    assert file.read_bytes() == b"old"
    assert names(file) == ["file"]


def test_the_target_of_a_link_is_replaced(file):
    link = file.with_name("link")
    link.symlink_to(file)
    atomic_write(link, lambda opened: opened.write(b"new"))
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_the_cause_is_raised_in_place_of_an_error_that_hides_it(file):
    def write(opened):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  # as torch.save does

    with pytest.raises(OSError, match="No space left"):
        atomic_write(file, write)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_torch_save_to_a_full_disk_has_an_os_error_as_its_cause():
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises((RuntimeError, OSError)) as caught:
        torch.save(torch.zeros(100_000), full)
    assert isinstance(os_error_cause(caught.value), OSError)


def test_other_errors_have_no_os_error_as_their_cause():
    assert os_error_cause(None) is None
    assert os_error_cause(ValueError("no")) is None
    assert os_error_cause(RuntimeError("no")) is None
    error = FileNotFoundError("file")
    assert os_error_cause(error) is error


def test_a_message_about_an_unreadable_file_is_one_line_with_file_and_reason(file):
    message = unreadable(file, "no saved state", ValueError(f"first line {'x' * 1000}\nsecond line"))
    assert message.startswith(f"{str(file)!r} is no saved state (ValueError: first line xx")
    assert message.endswith("). Nothing has been loaded.")
    assert "second" not in message
    assert len(message) < 500
    assert "(EOFError: )" in unreadable(file, "no saved state", EOFError())
