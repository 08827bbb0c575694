"""Worker: its messages, its interrupts, and its end with the parent process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import psutil
import pytest
import torch
from zae_lightning.launchers import worker
from zae_lightning.launchers.launcher import _serialize_call, _serialize_trainer
from zae_lightning.launchers.memory_file import has_memory_files
from zae_lightning.launchers.remote_proxy import RemoteProxy
from zae_lightning.launchers.worker import Task

from zae_engine.trainer.distributed.world import World


class Unreadable(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, a, b):
        super().__init__(a)


class Lost(UserWarning):
    """A category that can be pickled."""


@pytest.fixture
def channel():
    """A worker's channel, with the parent's end as ``parent``."""
    parent, connection = multiprocessing.Pipe()
    channel = worker._ParentChannel(connection)
    channel.received = lambda: pickle.loads(parent.recv_bytes())
    yield channel
    parent.close()
    connection.close()


def run_nothing(trainer, *args):
    """A function that can be sent."""


def test_messages_arrive_in_order_and_whole_from_several_threads(channel):
    threads = [threading.Thread(target=channel.send, args=("call", number, "x" * 1000)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    received = [channel.received() for _ in threads]
    assert sorted(number for _, number, _ in received) == list(range(20))
    assert all(text == "x" * 1000 for *_, text in received)


def test_a_call_that_cannot_be_sent_says_what_can(channel):
    with pytest.raises(TypeError, match=r"screen\.write was called with something .*Give numbers, strings"):
        channel.call(("screen", "write"), (threading.Lock(),), {})


def test_a_warning_whose_category_cannot_be_sent_becomes_a_user_warning(channel):
    class Local(UserWarning):
        pass

    channel.warning("text", Lost, "file.py", 3)
    channel.warning("text", Local, "file.py", 3)
    assert channel.received() == ("warning", "text", Lost, "file.py", 3)
    assert channel.received() == ("warning", "text", UserWarning, "file.py", 3)


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_exception_is_described_by_time_pickle_text_and_traceback():
    before = time.time()
    when, pickled, text, trace = worker._describe(raised(KeyError("no key")))
    assert before <= when <= time.time()
    assert isinstance(pickle.loads(pickled), KeyError)
    assert text == "KeyError: 'no key'"
    assert "in raised" in trace


@pytest.mark.parametrize("error", [Unreadable("details", 2), ValueError(threading.Lock())])
def test_an_exception_that_cannot_be_sent_is_text_only(error):
    _, pickled, text, _ = worker._describe(raised(error))
    assert pickled is None
    assert text.startswith(type(error).__name__)


def test_only_the_first_sigint_interrupts():
    handler = signal.getsignal(signal.SIGINT)
    try:
        worker._raise_one_interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.fixture
def _warnings_stay():
    with warnings.catch_warnings():
        yield


@pytest.mark.usefixtures("_warnings_stay")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_spawned_process_loads_the_trainer_with_proxies(make, loader, channel, rank):
    trainer = make()
    trainer.web_logger = {"wandb": threading.Lock()}  # stays in its process
    factory, call = _serialize_call(
        trainer, (run_nothing, (loader,), {"n": 2}), {"web_logger[wandb]": trainer.web_logger["wandb"]}
    )
    worlds = [World(number, 2, number, 2) for number in range(2)]
    task = Task(rank, worlds, factory, call, {"web_logger[wandb]": None}, 1, "fork")
    loaded, function, args, kwargs = worker._load(task, channel)
    assert type(loaded) is type(trainer)
    assert loaded.model.weight.equal(trainer.model.weight)
    assert loaded.model.weight is not trainer.model.weight
    assert function is run_nothing
    assert len(args[0].dataset) == len(loader.dataset)
    assert kwargs == {"n": 2}
    assert isinstance(loaded.web_logger["wandb"], RemoteProxy)
    loaded.web_logger["wandb"].log({"loss": 1.0})
    if rank == 0:
        assert channel.received() == ("call", ("web_logger[wandb]", "log"), ({"loss": 1.0},), {})
        loaded._zae_state.process.screen.write("a line")
        assert channel.received() == ("call", ("screen", "write"), ("a line",), {})
    else:
        assert loaded._zae_state.process.screen is None


@pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux")
@pytest.mark.usefixtures("_warnings_stay")
@pytest.mark.parametrize("n", [2, 40_000])
def test_a_task_arrives_with_its_data(make, channel, n):
    trainer, data = make(), torch.arange(n)
    factory, call, memory = _serialize_trainer(trainer, (run_nothing, (data,), {}), {})
    parent, connection = multiprocessing.Pipe()
    worker.send_task(parent, Task(0, [World(0, 1, 0, 1)], factory, call, {}, 1, "fork", memory), os.getpid())
    memory.close()
    task = worker.receive_task(connection)
    _, _, args, _ = worker._load(task, channel)
    assert torch.equal(args[0], data)
    assert args[0].data_ptr() != data.data_ptr()
    assert task.memory.descriptor is None  # closed; the data stay
    assert (task.trainer, task.call) == (b"", b"")
    for end in (parent, connection):
        end.close()


ORPHAN = """
import multiprocessing, os, signal, time
from zae_lightning.launchers import worker

def work():
    worker._exit_with_parent()
    signal.pause()

process = multiprocessing.get_context("fork").Process(target=work)
process.start()
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_process_ends_with_its_parent():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=False, timeout=120,
                          start_new_session=True)  # fmt: skip  # the process kills its own group
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=30)
    assert not psutil.pid_exists(pid)
