"""Atomic folder: a reader finds the files of one save, whenever a writer is killed or fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zae_engine.trainer.checkpoint.storage import atomic_folder
from zae_engine.trainer.checkpoint.storage.atomic_folder import AtomicFolder


def write(folder, **files):
    with folder.saving(outdated=("a", "b", "c")) as staged:
        for name, text in files.items():
            with open(os.path.join(staged, name), "w") as file:
                file.write(text)


def content(folder):
    result = {}
    for name in folder.names():
        with open(folder.file(name)) as file:
            result[name] = file.read()
    return result


@pytest.fixture
def folder(tmp_path):
    made = AtomicFolder(tmp_path / "new" / "folder")
    write(made, a="1", b="1")
    return made


def test_a_save_makes_the_folder_and_leaves_only_its_files(folder):
    assert content(folder) == {"a": "1", "b": "1"}
    assert sorted(os.listdir(folder.path)) == ["a", "b"]


def test_outdated_files_that_the_save_lacks_are_removed_and_others_stay(folder):
    with open(os.path.join(folder.path, "notes"), "w") as file:
        file.write("the user's")
    write(folder, b="2", c="2")
    assert content(folder) == {"b": "2", "c": "2", "notes": "the user's"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_files(folder, error):
    def save():
        with folder.saving() as staged:
            with open(os.path.join(staged, "a"), "w") as file:
                file.write("half")
            raise error

    with pytest.raises(type(error)):
        save()
    assert content(folder) == {"a": "1", "b": "1"}
    assert sorted(os.listdir(folder.path)) == ["a", "b"]


def test_committed_files_are_read_before_they_are_published(folder, monkeypatch):
    def fail(self):
        if os.path.isdir(self._committed):
            raise OSError("no rename")

    with monkeypatch.context() as context:
        context.setattr(AtomicFolder, "_publish", fail)
        write(folder, a="2", b="2")
    assert os.path.isdir(os.path.join(folder.path, ".saved"))  # a name of the format on disk
    assert content(folder) == {"a": "2", "b": "2"}
    write(folder, a="3")
    assert content(folder) == {"a": "3"}
    assert os.listdir(folder.path) == ["a"]


def test_the_staging_folder_of_a_dead_process_is_removed_and_that_of_a_living_one_stays(folder):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        for pid in (dead.pid, living.pid):
            os.mkdir(os.path.join(folder.path, f".saving-{pid}"))
        write(folder, a="2")
        assert sorted(os.listdir(folder.path)) == [f".saving-{living.pid}", "a"]
        living.communicate(b"\n")


def test_files_that_were_rewritten_in_place_while_saving_are_named_and_kept(folder):
    with folder.saving(outdated=("a", "b")) as staged:
        with open(os.path.join(folder.path, "b"), "w") as file:
            file.write("in place")
        assert folder.rewritten_files() == ["b"]
        with open(os.path.join(staged, "a"), "w") as file:
            file.write("2")
    assert content(folder) == {"a": "2", "b": "in place"}


def test_a_folder_that_does_not_exist_has_no_files(tmp_path):
    folder = AtomicFolder(tmp_path / "nowhere")
    assert folder.names() == []
    assert folder.file("a") == str(tmp_path / "nowhere" / "a")
    assert not (tmp_path / "nowhere").exists()


def test_the_names_of_the_folders_within_are_a_format():
    assert (atomic_folder._STAGED, atomic_folder._COMMITTED) == (".saving", ".saved")
