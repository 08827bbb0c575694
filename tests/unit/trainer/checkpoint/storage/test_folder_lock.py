"""Folder lock: one trainer at a time saves into a folder, and no lock outlives its process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from zae_engine.trainer.checkpoint.storage import folder_lock as module
from zae_engine.trainer.checkpoint.storage.folder_lock import FolderInUseError, Writer, folder_lock, is_alive, is_locked

HOLD = """
import sys
from zae_engine.trainer.checkpoint.storage.folder_lock import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "held"
        yield process
        process.kill()


def test_the_folder_is_as_before_when_the_lock_is_released(tmp_path):
    with folder_lock(str(tmp_path)):
        assert is_locked(str(tmp_path))
        assert os.listdir(tmp_path) == [".lock"]  # names that begin with a dot are no files of a state
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyError), folder_lock(str(tmp_path)):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_second_holder_in_this_process_is_refused(tmp_path):
    with folder_lock(str(tmp_path)):
        for path in (str(tmp_path), f"{tmp_path}/.", os.path.relpath(tmp_path)):
            with pytest.raises(FolderInUseError, match=rf"in this process \({os.getpid()} on .*save_path"):
                folder_lock(path).__enter__()
        with folder_lock(str(tmp_path.parent)):
            pass
    with folder_lock(str(tmp_path)):
        pass


def test_a_second_holder_in_another_process_is_named(tmp_path, holder):
    with pytest.raises(OSError, match=rf"in process \({holder.pid} on {socket.gethostname()}\)"):
        folder_lock(str(tmp_path)).__enter__()
    holder.communicate("\n")
    with folder_lock(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert os.listdir(tmp_path) == [".lock"]
    with folder_lock(str(tmp_path)):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_a_process_that_is_forked_meanwhile_does_not_keep_the_lock(tmp_path):
    with folder_lock(str(tmp_path)):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with folder_lock(str(tmp_path)):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": "x"}', b"\xff"])
def test_a_file_that_nobody_holds_means_nothing(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with folder_lock(str(tmp_path)):
        pass


def test_without_locks_of_the_system_the_file_tells(tmp_path, monkeypatch, holder):
    monkeypatch.setattr(module, "fcntl", None)
    with pytest.raises(FolderInUseError, match=str(holder.pid)):
        folder_lock(str(tmp_path)).__enter__()
    holder.kill()
    holder.wait()
    with folder_lock(str(tmp_path)):
        pass


def test_of_many_threads_one_at_a_time_holds_the_lock(tmp_path):
    inside, most, refused = [], [], []

    def work():
        for _ in range(200):
            try:
                with folder_lock(str(tmp_path)):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except FolderInUseError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) + len(refused) == 800
    assert os.listdir(tmp_path) == []


def test_a_writer_is_known_by_the_start_of_its_process():
    writer = Writer.current()
    assert writer.is_current()
    assert writer.is_alive()
    assert Writer.from_dict(json.loads(json.dumps(writer.to_dict()))) == writer
    assert Writer.from_dict({"pid": 1}) is None
    assert not Writer(writer.pid, "another machine", writer.started).is_alive()
    if writer.started:
        assert not Writer(writer.pid, writer.host, "1").is_alive()  # an earlier process with the same number
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    assert not is_alive(dead.pid)
    assert str(writer) == f"this process ({os.getpid()} on {socket.gethostname()})"
