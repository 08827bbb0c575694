"""Monitor: messages of processes are handled, and the end of each process is explained."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest
import torch
from torch import distributed as dist
from zae_lightning.launchers.monitor import ProcessFailed, ProcessMonitor, RankTraceback
from zae_lightning.launchers.serialization import deserialize
from zae_lightning.launchers.worker import Task

from tests.conftest import Classifier
from zae_engine.trainer.distributed.world import World

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the processes are forked, to be fast"
)


class Lines:
    """A screen that keeps its lines."""

    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines.append(text)

    def fail(self):
        raise OSError("no screen")


class Interrupting(Lines):
    """Presses Ctrl-C when the processes run."""

    def write(self, text):
        super().write(text)
        if len(self.lines) == 1:  # not once more at the message that follows on a busy machine
            signal.raise_signal(signal.SIGINT)


class Unreadable(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, a, b):
        super().__init__(a)


def call(trainer, function, size=1, screen=None, before_waiting=lambda monitor: None):
    """Call a function with the trainer in forked processes, and return the monitor after their end."""
    worlds = [World(rank, size, rank, size) for rank in range(size)]
    trainer.device = trainer.device * size
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    tasks = [
        Task(rank, worlds, trainer, (function, (), {}), {}, 1, "fork", store_address=("127.0.0.1", store.port))
        for rank in range(size)
    ]
    screen = screen or Lines()
    monitor = ProcessMonitor({"screen": screen})
    monitor.screen = screen
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
        try:
            monitor.start(tasks, multiprocessing.get_context("fork"))
            before_waiting(monitor)
            monitor.wait()
        finally:
            monitor.end()
    return monitor


def test_the_result_of_rank_zero_is_kept(make):
    def function(trainer):
        trainer.note = trainer.primary_device_index

    monitor = call(make(), function, size=2)
    assert monitor.failure() is None
    assert deserialize(deserialize(monitor.result)["attributes"]["note"]) == 0


def test_the_screen_is_that_of_the_user(make):
    monitor = call(make(), lambda trainer: trainer._zae_state.process.screen.write("a line"))
    assert monitor.screen.lines == ["a line"]


def test_a_target_that_fails_costs_one_warning(make):
    def function(trainer):
        trainer._zae_state.process.screen.fail()
        trainer._zae_state.process.screen.fail()

    with pytest.warns(UserWarning, match=r"Lines.fail failed \(OSError: no screen\). Training goes on.") as caught:
        monitor = call(make(), function)
    assert len([w for w in caught if "no screen" in str(w.message)]) == 1
    assert monitor.failure() is None


def test_warnings_of_rank_zero_are_shown_once(make):
    with pytest.warns(UserWarning, match="from a rank") as caught:
        call(make(), lambda trainer: warnings.warn("from a rank", stacklevel=1), size=2)
    assert len([w for w in caught if str(w.message) == "from a rank"]) == 1


def test_an_exception_is_raised_as_itself_with_the_traceback_of_its_rank(make):
    def function(trainer):
        raise KeyError("no such key")

    error = call(make(), function).failure()
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, RankTraceback)
    assert "Rank 0 of 1 raised" in str(error.__cause__)
    assert "in function" in str(error.__cause__)


def test_an_exception_that_cannot_be_sent_is_described(make):
    def function(trainer):
        raise Unreadable("details", 2)

    error = call(make(), function).failure()
    assert isinstance(error, ProcessFailed)
    assert str(error) == "Rank 0 failed: Unreadable: details"


def test_a_signal_is_named_and_the_others_are_ended(make):
    def function(trainer):
        if trainer.primary_device_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    error = call(make(), function, size=2).failure()
    assert isinstance(error, ProcessFailed)
    assert "rank 1" in str(error)
    assert "SIGKILL" in str(error)


def test_an_exit_code_is_named(make):
    error = call(make(), lambda trainer: os._exit(3)).failure()
    assert isinstance(error, ProcessFailed)
    assert "of rank 0" in str(error)
    assert str(error).endswith("ended with exit code 3.")


def test_an_interrupt_is_passed_on_and_raised(make):
    def function(trainer):
        trainer._zae_state.process.screen.write("running")
        signal.pause()

    monitor = call(make(), function, screen=Interrupting())
    assert isinstance(monitor.failure(), KeyboardInterrupt)
    assert monitor.result is not None


def test_ending_ends_processes_that_run_and_those_that_they_started():
    """A process of its own runs it: what other tests have started would be forked twice over here."""
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def end_processes_with_children():
    def function(trainer):
        child = multiprocessing.get_context("fork").Process(target=signal.pause)
        child.start()
        trainer._zae_state.process.screen.write(str(child.pid))
        while True:
            signal.pause()

    def end_when_running(monitor):
        while not monitor.screen.lines:
            monitor._wait_once()
        monitor.end()

    model = torch.nn.Linear(10, 2)
    trainer = Classifier(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False)
    monitor = call(trainer, function, before_waiting=end_when_running)
    child = int(monitor.screen.lines[0])
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)  # it has been killed, and takes its time to go; the suite's time limit ends the wait
    children = psutil.Process().children()
    assert not [process for process in children if "resource_tracker" not in " ".join(process.cmdline())]


def test_a_traceback_is_shown_below_an_empty_line():
    assert str(pickle.loads(pickle.dumps(RankTraceback("Rank 0 raised")))) == "\n\nRank 0 raised"


if __name__ == "__main__":
    end_processes_with_children()
