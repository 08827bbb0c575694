"""A save in the background has fixed content, keeps its folder locked, and is complete or leaves nothing."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from zae_engine.trainer.checkpoint.background_save import BackgroundSave, completed_saves, file_writers
from zae_engine.trainer.checkpoint.storage import formats, manifest
from zae_engine.trainer.checkpoint.storage.atomic_folder import AtomicFolder
from zae_engine.trainer.checkpoint.storage.folder_lock import FolderInUseError

NAMES = {"model": "model.ckpt", "optimizer": "optimizer.zae", "scheduler": "scheduler.zae"}
NOTE = {"trainer": "a"}


def save(folder, model):
    save = BackgroundSave(AtomicFolder(folder), NAMES.values())
    with save.prepared():
        files = file_writers(model, {"optimizer": {"step": torch.ones(1)}}, NAMES, "ckpt")
    return save, files


def test_what_is_written_is_what_there_was_when_it_began(tmp_path):
    model = {"weight": torch.zeros(3)}
    begun, files = save(tmp_path, model)
    model["weight"] += 1
    (tmp_path / "latest").mkdir()
    begun.write(files, {"rest": 1}, NOTE, [str(tmp_path / "latest")])
    read = manifest.read(AtomicFolder(tmp_path), {"model": "model.ckpt", "optimizer": "optimizer.zae"}, "ckpt")
    assert torch.equal(read.parts["model"]["weight"], torch.zeros(3))
    assert read.rest == {"rest": 1}
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "trainer.zae"]


def test_the_folder_is_locked_until_it_is_written(tmp_path):
    begun, files = save(tmp_path, {})
    with pytest.raises(FolderInUseError), AtomicFolder(tmp_path).saving():
        pass
    thread = threading.Thread(target=begun.write, args=(files, {}, NOTE, []))
    thread.start()
    thread.join()
    with AtomicFolder(tmp_path).saving():
        pass


def test_what_fails_while_it_is_prepared_or_written_leaves_nothing(tmp_path):
    begun = BackgroundSave(AtomicFolder(tmp_path), NAMES.values())
    with pytest.raises(KeyError), begun.prepared():
        raise KeyError
    assert os.listdir(tmp_path) == []
    begun, files = save(tmp_path, {})
    with pytest.raises(AttributeError):
        begun.write({**files, "other": lambda path: path.no_such_attribute}, {}, NOTE, [])
    assert os.listdir(tmp_path) == []
    begun.complete({"callbacks": {}})
    assert os.listdir(tmp_path) == []


def test_a_written_save_is_completed_once(tmp_path):
    begun, files = save(tmp_path, {})
    begun.write(files, {"checkpoint": {}}, NOTE, [])
    begun.complete({"callbacks": {"count": 1}})
    begun.complete({"callbacks": {"count": 2}})
    assert manifest.read(AtomicFolder(tmp_path), {}, "ckpt").rest == {"checkpoint": {"callbacks": {"count": 1}}}


def test_tensors_that_share_memory_share_it_in_the_file(tmp_path):
    weight = torch.arange(100_000.0)
    _, files = save(tmp_path / "a", {"weight": weight, "tied": weight})
    files["model.ckpt"](str(tmp_path / "tied.ckpt"))
    formats.write_model(tmp_path / "direct.ckpt", {"weight": weight, "tied": weight}, "ckpt")
    assert os.path.getsize(tmp_path / "tied.ckpt") == os.path.getsize(tmp_path / "direct.ckpt")


def test_a_state_that_the_format_cannot_hold_is_refused_before_it_is_written():
    with pytest.raises(TypeError, match="holds tensors only"):
        file_writers({"extra": 1}, {}, NAMES, "safetensor")


def test_a_run_ends_when_all_is_written_and_keeps_the_users_exception(make):
    trainer = make()
    saves, gate, done = trainer._zae_state.process.saves, threading.Event(), []
    with completed_saves(trainer):
        assert trainer._zae_state.run.waits_for_saves
        saves.submit(lambda: done.append(gate.wait(60)), pytest.fail)
        gate.set()
    assert done == [True]
    assert not trainer._zae_state.run.waits_for_saves

    def reraise(error):
        raise error

    def fail_while_writing():
        with completed_saves(trainer):
            saves.submit(lambda: [].pop(), reraise)
            raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        fail_while_writing()
