"""A notebook's kernel, driven as the browser does it: run cells again, press stop, go on."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from queue import Empty

import psutil
import pytest
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

SETUP = """
import gc, threading, time, torch
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer

class Slow(Trainer):
    def train_step(self, batch):
        time.sleep(0.005)
        x, y = batch
        return {"loss": torch.nn.functional.mse_loss(self.model(x), y)}

    test_step = train_step

torch.manual_seed(0)
data = TensorDataset(torch.randn(400, 3), torch.randn(400, 1))
loader = DataLoader(data, 4, shuffle=True)
working = DataLoader(data, 4, num_workers=1)
model = torch.nn.Linear(3, 1)
trainer = Slow(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
trainer.run(1, loader, loader)
import psutil
me = psutil.Process()
"""
STATE = """
gc.collect()
n_steps, progress = sum(len(trainer.history.steps(mode)) for mode in ("train", "test")), trainer.progress_checker
print(trainer.mode, len(trainer.history) == progress.get_epoch() - 1, n_steps == progress.get_step() - 1,
      len(me.children()), torch.isfinite(model.weight).all().item())
"""
COUNT = """
def count():
    gc.collect()
    return me.memory_info().rss / 1e6, len(gc.get_objects()), threading.active_count()
"""


class Kernel:
    def __init__(self, manager):
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def start(self, code):
        return self.client.execute(code)

    def finish(self, request, timeout=120):
        """Return what a cell printed on stdout, and the name of the error that ended it, or None."""
        text, error, end = "", None, time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(Empty):
                message = self.client.get_iopub_msg(timeout=1)
                if message["parent_header"].get("msg_id") != request:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "stream" and content["name"] == "stdout":
                    text += content["text"]
                elif kind == "error":
                    error = content["ename"]
                elif kind == "status" and content["execution_state"] == "idle":
                    return text, error
        raise TimeoutError(f"the cell did not end within {timeout} s; it had printed {text!r}")

    def run(self, code):
        text, error = self.finish(self.start(code))
        assert error is None, (code, error)
        return text

    def shown_by(self, code):
        """Run a cell and return the messages with what it showed, by their kind."""
        request, shown = self.start(code), defaultdict(list)
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") == request:
                assert message["msg_type"] != "error", message["content"]
                shown[message["msg_type"]].append(message)
                if message["content"].get("execution_state") == "idle":
                    return shown

    def stop(self, code, after):
        """Run a cell, press stop after so many seconds, and return the error and when that was."""
        request = self.start(code)
        time.sleep(after)
        pressed = time.time()
        self.manager.interrupt_kernel()
        _, error = self.finish(request)
        return error, pressed


@pytest.fixture(scope="module")
def kernel():
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    kernel = Kernel(manager)
    try:
        kernel.run(SETUP)
        yield kernel
    finally:
        kernel.client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_twenty_interrupted_runs_leave_a_trainer_that_goes_on(kernel):
    # The time is taken in the cell: IPython reads all files that the traceback goes through before it tells of it.
    timed = "try:\n    trainer.run(1000, loader, loader)\nexcept KeyboardInterrupt:\n    end = time.time()\n    raise"
    for i in range(20):
        error, pressed = kernel.stop(timed, after=0.3 + 0.07 * (i % 10))
        assert error == "KeyboardInterrupt"
        assert float(kernel.run("print(end)")) - pressed < 5
        assert kernel.run(STATE).split() == ["train", "True", "True", "0", "True"]
    before = int(kernel.run("print(trainer.progress_checker.get_epoch())"))
    kernel.run("trainer.run(1, loader, loader)")
    assert int(kernel.run("print(trainer.progress_checker.get_epoch())")) == before + 1
    assert kernel.run("import signal; print(signal.getsignal(signal.SIGINT).__name__)").strip() != "SIG_IGN"


def test_twenty_interrupted_runs_leak_nothing(kernel):
    # Caught in the cell: IPython keeps the syntax trees of all files that a traceback goes through.
    caught = "try:\n    trainer.run(1000, loader, loader)\nexcept KeyboardInterrupt:\n    print('stopped')"
    kernel.run(COUNT)
    sizes = []
    for i in range(20):
        error, _ = kernel.stop(caught, after=0.3 + 0.05 * (i % 10))
        assert error is None
        sizes.append([float(value) for value in kernel.run("print(*count())").split()])
    (memory, objects, threads), (last_memory, last_objects, last_threads) = sizes[4], sizes[-1]
    assert last_memory - memory < 8  # MB
    assert last_objects - objects < 15 * 150  # IPython remembers every cell
    assert last_threads <= threads


def test_worker_processes_of_a_loader_end_with_an_interrupt(kernel):
    for _ in range(3):
        error, _ = kernel.stop("trainer.run(1000, working)", after=1.5)
        assert error == "KeyboardInterrupt"
    kernel.run("time.sleep(1.0)")
    children = psutil.Process(kernel.manager.provisioner.pid).children(recursive=True)
    assert [child.name() for child in children if child.status() != psutil.STATUS_ZOMBIE] == []


def test_cells_run_again(kernel):
    kernel.run(SETUP.split("torch.manual_seed")[0])  # the class, defined anew
    kernel.run("second = Slow(model, 'cpu', optimizer=torch.optim.Adam(model.parameters()), log_bar=False)")
    kernel.run("second.run(1, loader); trainer.run(1, DataLoader(data, 50))")
    kernel.run("trainer.optimizer = torch.optim.Adam(model.parameters(), lr=0.02)")
    kernel.run("trainer.run(1, loader)\nassert trainer.history[-1]['lr'] == 0.02")
    kernel.run("trainer.optimizer.param_groups[0]['lr'] = 0.5\ntrainer.run(1, loader)")
    assert kernel.run("print(trainer.history[-1]['lr'])").strip() == "0.5"


def test_an_exception_in_a_step_reaches_the_cell_and_the_next_run_goes_on(kernel):
    kernel.run("good, type(trainer).train_step = type(trainer).train_step, lambda self, batch: 1 / 0")
    _, error = kernel.finish(kernel.start("trainer.run(1, loader)"))
    assert error == "ZeroDivisionError"
    kernel.run("type(trainer).train_step = good\ntrainer.run(1, loader)")


def test_the_lines_of_many_epochs_take_one_place(kernel):
    kernel.run("short = [next(iter(loader))]\nmodel = torch.nn.Linear(3, 1)")
    # The loss of gradient descent on one batch falls at each step, so that the best epoch is the latest one.
    kernel.run("falling = type(trainer)(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), lr=0.01))")
    shown = kernel.shown_by("falling.run(40, short)")
    places = {
        message["content"]["transient"]["display_id"]
        for message in [*shown["display_data"], *shown["update_display_data"]]
        if "train_loss" in message["content"]["data"].get("text/plain", "")
    }
    assert len(places) == 1
    assert shown["stream"] == []
    last = shown["update_display_data"][-1]["content"]["data"]["text/plain"].splitlines()
    assert len(last) == 11
    assert "30 more" in last[2]
    assert last[-1].startswith("Epoch 40/40")


def test_a_live_plot_is_one_picture_that_is_drawn_anew(kernel):
    kernel.run("live = type(trainer)(model, 'cpu', optimizer=falling.optimizer, log_bar=False, live_plot=True)")
    shown = kernel.shown_by("live.run(3, short, short)")
    pictures = {
        kind: [m for m in shown[kind] if "image/png" in m["content"]["data"]]
        for kind in ("display_data", "update_display_data")
    }
    assert len(pictures["display_data"]) == 1
    assert len(pictures["update_display_data"]) in (1, 2)  # the last epoch's at least
    places = {m["content"]["transient"]["display_id"] for found in pictures.values() for m in found}
    assert len(places) == 1


def test_a_trainer_and_its_plot_are_shown_as_a_table_and_once_as_a_picture(kernel):
    table = kernel.shown_by("live")["execute_result"]
    assert "<table>" in table[0]["content"]["data"]["text/html"]
    shown = kernel.shown_by("live.plot()")
    assert len([m for kind in shown.values() for m in kind if "image/png" in m["content"].get("data", {})]) == 1
