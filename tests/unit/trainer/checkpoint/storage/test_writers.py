"""Writers: a save that would replace the state of another trainer that still exists is refused, or warns once."""

from __future__ import annotations

import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from zae_engine.trainer.checkpoint.storage import manifest
from zae_engine.trainer.checkpoint.storage.atomic_folder import AtomicFolder
from zae_engine.trainer.checkpoint.storage.folder_lock import FolderInUseError, Writer
from zae_engine.trainer.checkpoint.storage.writers import WriterIdentity, check_other_writer, record_writer


class Saver:
    def __init__(self):
        self.identity = WriterIdentity()
        self._zae_state = SimpleNamespace(run=SimpleNamespace(depth=0))

    def save(self, folder, **changes):
        with folder.saving() as staged:
            check_other_writer(folder, self, self.identity)
            manifest.write_manifest(folder, staged, {}, {**self.identity.note(), **changes})
        record_writer(folder, self)


@pytest.fixture
def folder(tmp_path):
    return AtomicFolder(str(tmp_path))


@pytest.fixture
def first(folder):
    saver = Saver()
    saver.save(folder)
    return saver


@pytest.fixture(autouse=True)
def _no_other_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_trainer_replaces_its_own_state(folder, first):
    first.save(folder)


def test_another_trainer_of_this_process_warns_once(folder, first):
    other = Saver()
    with pytest.warns(UserWarning, match=r"holds the state of another trainer, of this process .*load_state"):
        other.save(folder)
    other.save(folder)
    with pytest.warns(UserWarning, match="another trainer"):
        first.save(folder)
    other.save(folder)
    first.save(folder)


def test_a_trainer_that_is_gone_is_no_obstacle(folder):
    for _ in range(3):
        Saver().save(folder)  # freed at once


def test_a_trainer_that_loaded_the_state_continues_it(folder, first):
    other = Saver()
    other.identity.has_loaded(folder)
    other.save(folder)


def test_a_trainer_in_a_run_is_not_replaced(folder, first):
    first._zae_state.run.depth = 1
    before = manifest.writer_of(folder)
    other = Saver()
    other.identity.has_loaded(folder)
    with pytest.raises(FolderInUseError, match=r"in a run.*save_path"):
        other.save(folder)
    assert manifest.writer_of(folder) == before
    first.save(folder)
    first._zae_state.run.depth = 0
    other.save(folder)


def test_another_process_that_is_alive_warns_and_a_dead_one_does_not(folder, first):
    code = "import os, sys; from zae_engine.trainer.checkpoint.storage.folder_lock import Writer; "
    code += "import json; print(json.dumps(Writer.current().to_dict()), flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        import json

        foreign = json.loads(process.stdout.readline())
        first.save(folder, **foreign, trainer="foreign")
        with pytest.warns(UserWarning, match=rf"of process \({process.pid} on"):
            Saver().save(folder, **foreign, trainer="foreign")
        first.identity.continued = "foreign"
        first.save(folder, **foreign, trainer="foreign")
        process.communicate("\n")
    Saver().save(folder)


def test_a_copy_in_another_process_is_the_same_trainer(folder, first):
    first.save(folder, pid=1, host=Writer.current().host, started="")  # process 1 is alive
    Saver().identity.trainer = first.identity.trainer
    copy = Saver()
    copy.identity.trainer = first.identity.trainer
    copy.save(folder)
