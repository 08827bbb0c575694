"""Manifest: ``trainer.zae`` says which files belong together, and a mixture of two saves is not read."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch
from torch import nn

from zae_engine.trainer.checkpoint.storage import formats, manifest
from zae_engine.trainer.checkpoint.storage.atomic_folder import AtomicFolder

NAMES = {"model": "model.ckpt", "optimizer": "optimizer.zae"}


def save(folder, number):
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, number)
    with folder.saving(outdated=[*NAMES.values(), manifest.REST]) as staged:
        formats.write_model(os.path.join(staged, "model.ckpt"), model.state_dict(), "ckpt")
        formats.write_zae(os.path.join(staged, "optimizer.zae"), {"number": number})
        return manifest.write_manifest(folder, staged, {"number": number}, {"save": number})


def numbers(saved):
    rest = saved.rest and saved.rest["number"]
    return saved.parts["model"]["weight"].item(), saved.parts["optimizer"]["number"], rest


@pytest.fixture
def folder(tmp_path):
    made = AtomicFolder(tmp_path)
    save(made, 1)
    return made


def test_a_save_is_read_whole(folder):
    saved = manifest.read(folder, NAMES, "ckpt")
    assert numbers(saved) == (1, 1, 1)
    assert saved.files == {
        "model": folder.file("model.ckpt"),
        "optimizer": folder.file("optimizer.zae"),
        "rest": folder.file("trainer.zae"),
    }


def test_the_manifest_lists_the_other_files(folder):
    content = torch.load(folder.file("trainer.zae"), weights_only=True)
    assert content.keys() == {"format", "files", "state", "writer"}
    assert content["files"].keys() == set(NAMES.values())


def test_a_file_of_another_save_is_refused_by_name(folder):
    formats.write_zae(folder.file("optimizer.zae"), {"number": 2})
    with pytest.raises(ValueError, match=r"'optimizer.zae' in .* is not of the same save"):
        manifest.read(folder, NAMES, "ckpt")


def test_files_that_are_all_newer_are_read_without_the_rest(folder):
    torch.save(nn.Linear(1, 1).state_dict(), folder.file("model.ckpt"))
    formats.write_zae(folder.file("optimizer.zae"), {"number": 2})
    with pytest.warns(UserWarning, match=r"written after trainer\.zae"):
        saved = manifest.read(folder, NAMES, "ckpt")
    assert saved.rest is None
    assert saved.parts["optimizer"] == {"number": 2}


def test_files_without_a_manifest_are_those_of_0_7_6(folder):
    os.remove(folder.file("trainer.zae"))
    assert numbers(manifest.read(folder, NAMES, "ckpt")) == (1, 1, None)


def test_a_missing_file_is_named_with_what_there_is(folder):
    os.remove(folder.file("optimizer.zae"))
    with pytest.raises(FileNotFoundError, match=r"optimizer's file 'optimizer.zae' is missing .*'model.ckpt'"):
        manifest.read(folder, NAMES, "ckpt")


def test_a_file_that_the_manifest_does_not_list_belongs_to_no_save(folder):
    formats.write_zae(folder.file("scheduler.zae"), {"number": 1})
    with pytest.raises(FileNotFoundError, match=r"scheduler's file"):
        manifest.read(folder, {**NAMES, "scheduler": "scheduler.zae"}, "ckpt")


@pytest.mark.parametrize("content", [{"format": 99, "files": {}, "state": {}}, {"format": 1}, [1]])
def test_another_manifest_is_refused(folder, content):
    torch.save(content, folder.file("trainer.zae"))
    with pytest.raises(ValueError, match=r"trainer\.zae' is no saved state of a trainer"):
        manifest.read(folder, NAMES, "ckpt")


def test_the_callbacks_part_is_added_to_the_state(folder):
    content = save(folder, 2)
    manifest.complete(folder, content, {"callbacks": {"a": 1}})
    saved = manifest.read(folder, NAMES, "ckpt")
    assert numbers(saved) == (2, 2, 2)
    assert saved.rest["checkpoint"] == {"callbacks": {"a": 1}}


def test_a_reader_finds_one_save_while_another_is_written(folder):
    is_done = threading.Event()

    def write():
        number = 1
        while not is_done.is_set():
            number += 1
            save(folder, number)
            time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            model, optimizer, rest = numbers(manifest.read(folder, NAMES, "ckpt"))
            assert model == optimizer == rest
    finally:
        is_done.set()
        writer.join()
