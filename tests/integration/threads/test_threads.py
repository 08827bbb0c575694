"""Threads: several runs at once in one process."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from tests.integration.threads import many_runs


@pytest.mark.timeout(400)
def test_runs_in_threads_are_as_alone_and_leave_no_trace():
    """600 runs in 8 threads, the first ones of the process; ``python -m tests.integration.threads.many_runs 3000``."""
    command = [sys.executable, "-m", many_runs.__name__, "600"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=390)
    assert done.stdout.splitlines()[-1:] == ["600 runs, 0 wrong"], done.stdout + done.stderr
    assert done.returncode == 0


def test_a_loader_that_another_thread_builds_during_runs_has_nothing_of_lightning(make, loader):
    stop, found = threading.Event(), []

    def build():
        while not stop.is_set():
            built = DataLoader([0, 1], 1)
            found.extend(name for name in vars(built) if "pl_" in name)

    thread = threading.Thread(target=build)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(10):
            make().run(1, loader, loader)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not found
    assert not many_runs.patched(DataLoader)


def test_random_numbers_that_a_thread_draws_while_another_run_starts_are_drawn_once(make):
    """Lightning restores the states of the process's generators after a sanity check."""
    before = []

    class Draws(Callback):
        def setup(self, lightning_trainer, module, stage):
            lightning_trainer._run_sanity_check = lambda: before.append(torch.rand(4))  # as another thread may

    make(callbacks=[Draws()]).run(1, [(torch.zeros(1, 10), torch.zeros(1).long())])
    assert not torch.equal(torch.rand(4), before[0])


def test_a_warning_is_hidden_in_the_thread_alone_that_hides_it():
    from zae_engine._warnings import ignored_warnings

    inside, outside = threading.Event(), threading.Event()

    def hide():
        with ignored_warnings("mine"):
            inside.set()
            outside.wait(10)

    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("always")
        hidden = pool.submit(hide)
        inside.wait(10)
        warnings.warn("mine, in another thread", stacklevel=1)
        outside.set()
        hidden.result()
    assert [str(w.message) for w in seen] == ["mine, in another thread"]


def test_a_closed_stderr_is_replaced_until_the_last_run_ends(monkeypatch):
    from zae_engine.trainer.utilities.safe_stream import usable_stderr

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    first, second = usable_stderr(), usable_stderr()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    print("written by the second run", file=sys.stderr)
    second.__exit__(None, None, None)
    assert sys.stderr is closed
