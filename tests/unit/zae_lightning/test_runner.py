"""Runner: interrupts, exceptions and signals during a run, and what is restored after it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import psutil
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.conftest import Classifier


@pytest.fixture(autouse=True)
def _sigint_as_in_a_terminal():
    """Have Ctrl-C raise, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted(Classifier):
    """Presses Ctrl-C in its fourth step."""

    def train_step(self, batch):
        if self.progress_checker.get_step() == 4 and not getattr(self, "pressed", False):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)  # the signal arrives here
        return super().train_step(batch)


def test_ctrl_c_raises_keyboard_interrupt_and_the_trainer_runs_again(make, loader, valid_loader):
    trainer = make(Interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(2, loader)
    assert signal.getsignal(signal.SIGINT) is handler
    assert trainer.progress_checker.get_epoch() == 2
    assert len(trainer.get_loss_history()) == 3
    assert trainer.log_train == {}  # interrupted in the first step of the second epoch
    trainer.run(1, loader, valid_loader)
    assert trainer.progress_checker.get_epoch() == 3
    assert len(trainer.get_loss_history()) == 6


def test_ctrl_c_during_validation_leaves_train_mode(make, loader, valid_loader):
    class Late(Classifier):
        def test_step(self, batch):
            raise KeyboardInterrupt

    trainer = make(Late)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(1, loader, valid_loader)
    assert trainer.mode == "train"
    with pytest.raises(KeyboardInterrupt):
        trainer.inference(loader)
    assert trainer.mode == "train"


@pytest.mark.parametrize("error", [RuntimeError("mine"), StopIteration("mine"), SystemExit(3), GeneratorExit("mine")])
@pytest.mark.parametrize("overridden", [False, True])
def test_an_exception_in_a_step_reaches_the_caller_as_itself(make, loader, error, overridden):
    class Failing(Classifier):
        def train_step(self, batch):
            raise error

    class FailingBatch(Failing):
        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)

    with pytest.raises(type(error)) as caught:
        make(FailingBatch if overridden else Failing).run(1, loader)
    assert caught.value is error


def test_stop_iteration_in_a_test_step_does_not_end_the_test_in_silence(make, loader):
    class Exhausted(Classifier):
        def test_step(self, batch):
            next(iter(()))

    with pytest.raises(StopIteration):
        make(Exhausted).inference(loader)


def test_signal_handlers_and_grad_mode_are_as_before(make, loader):
    def handler(*args):
        pass

    previous = signal.signal(signal.SIGTERM, handler)
    try:
        with torch.no_grad():
            make().run(1, loader, loader)
            assert not torch.is_grad_enabled()
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_a_run_in_a_thread(make, loader):
    trainer = make()
    thread = threading.Thread(target=trainer.run, args=(1, loader))
    thread.start()
    thread.join()
    assert trainer.progress_checker.get_epoch() == 2


class Slow(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.randn(10), i % 2


def test_an_interrupted_run_leaves_no_worker_behind(make):
    trainer = make(Interrupted)
    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        trainer.run(3, DataLoader(Slow(), 8, num_workers=2))
    gc.collect()
    deadline = time.monotonic() + 10
    while (left := set(psutil.Process().children()) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_a_trainer_is_freed_after_its_run(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    alive = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert alive() is None


SLURM = {"JOB_ID": "7", "NTASKS": "4", "PROCID": "1", "LOCALID": "1", "JOB_NAME": "sweep"}
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}
TORCHELASTIC = {"GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    "environment",
    [{f"SLURM_{key}": value for key, value in SLURM.items()}, TORCHRUN | TORCHELASTIC],
    ids=["slurm", "torchrun"],
)
def test_one_device_means_one_process_also_in_a_task_of_many(environment):
    code = (
        "import torch; from tests.conftest import Classifier\n"
        "model = torch.nn.Linear(10, 2)\n"
        "t = Classifier(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), lr=.1), log_bar=False)\n"
        "t.run(1, [(torch.randn(4, 10), torch.zeros(4).long())] * 3)\n"
        "assert t.lightning_trainer.world_size == 1 and len(t.get_loss_history()) == 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment}, timeout=120)


def test_sigterm_ends_the_program_at_once_as_without_lightning(tmp_path):
    code = (
        "import os, signal, time, torch; from tests.conftest import Classifier\n"
        "class Slow(Classifier):\n"
        "    def train_step(self, batch):\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)\n"
        "model = torch.nn.Linear(10, 2)\n"
        "Slow(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), lr=.1), log_bar=False).run(\n"
        "    1, [(torch.randn(4, 10), torch.zeros(4).long())] * 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGTERM
    assert done.stderr == ""


class Payload(KeyboardInterrupt):
    pass


def test_the_very_interrupt_reaches_the_caller_in_threads_too(make, loader):
    interrupt = Payload("where")

    class Stopping(Classifier):
        def train_step(self, batch):
            raise interrupt

    caught = []

    def run():
        with pytest.raises(Payload) as info:
            make(Stopping).run(1, loader)
        caught.append(info.value)

    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [interrupt, interrupt]


def test_runs_in_several_threads_leave_the_filters_as_they_are(make, loader, capfd):
    import warnings

    make().run(1, loader)
    before = list(warnings.filters)
    threads = [threading.Thread(target=make().run, args=(3, loader)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    assert all(line[9:].startswith("Epoch ") for line in capfd.readouterr().err.splitlines())


def test_a_filter_that_the_user_sets_within_a_run_stays(make, loader):
    import warnings

    class Filtering(Classifier):
        def metric_on_epoch_end(self):
            warnings.filterwarnings("ignore", message="a filter of my own")

    with warnings.catch_warnings():
        make(Filtering).run(1, loader)
        assert any(entry[1] and entry[1].match("a filter of my own") for entry in warnings.filters)


def test_an_exit_by_the_user_stays_one_even_if_it_comes_from_an_interrupt(make, loader):
    class Exiting(Classifier):
        def train_step(self, batch):
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                sys.exit(1)

    with pytest.raises(SystemExit):
        make(Exiting).run(1, loader)


def test_ctrl_c_raises_keyboard_interrupt_while_wandb_has_replaced_sys_exit(make, loader, monkeypatch):
    def replaced(code=0, _exit=sys.exit):
        _exit(code)

    monkeypatch.setattr(sys, "exit", replaced)
    trainer = make(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(2, loader)
