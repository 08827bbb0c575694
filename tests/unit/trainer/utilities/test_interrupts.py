"""Interrupts: at any moment of Ctrl-C, weights, logs and counts describe the same steps."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer


class Counting(Trainer):
    """Its model counts the updates: every step moves the weight by the learning rate."""

    def train_step(self, batch):
        return {"loss": self.model.weight.sum()}

    def test_step(self, batch):
        return {"loss": self.model.weight.sum()}


class Whole(Counting):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Twice(Counting):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


def make(cls, **kwargs):
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    return cls(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=1.0), log_bar=False, **kwargs)


def press_at_random(trainer, seconds):
    """Run until a SIGINT comes, after so many seconds."""
    thread = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    loader = DataLoader(TensorDataset(torch.zeros(12, 1)), 4)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.run(10**6, loader, loader)
    thread.join()


def is_of_one_moment(trainer):
    updates = -round(trainer.model.weight.item())
    n_train, n_test = (len(trainer.history.steps(mode)) for mode in ("train", "test"))
    progress = trainer.progress_checker
    assert updates == n_train
    assert n_train + n_test == progress.get_step() - 1
    assert len(trainer.history) == progress.get_epoch() - 1
    assert trainer.mode == "train"


@pytest.mark.parametrize("cls", [Counting, Whole, Twice])
def test_an_interrupt_falls_between_steps_and_between_epochs(cls):
    trainer, luck = make(cls), random.Random(0)
    trainer.run(1, [torch.zeros(4, 1)])
    for _ in range(40):
        press_at_random(trainer, luck.uniform(0.02, 0.06))
        is_of_one_moment(trainer)
    epochs = len(trainer.history)
    trainer.run(1, [torch.zeros(4, 1)])
    assert len(trainer.history) == epochs + 1


def test_a_step_that_hangs_is_interrupted_at_once():
    class Hangs(Counting):
        def train_step(self, batch):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            time.sleep(1000)  # the time limit of the suite ends a test that waits for it

    with pytest.raises(KeyboardInterrupt):
        make(Hangs).run(1, [torch.zeros(4, 1)])


def test_books_are_closed_first_and_a_second_press_does_not_wait():
    class Slow(Counting):
        def check_better(self, cur_epoch, cur_loss):
            for _ in range(self.presses):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            return super().check_better(cur_epoch, cur_loss)

    trainer = make(Slow)
    trainer.presses = 1
    with pytest.raises(KeyboardInterrupt):
        trainer.run(3, [torch.zeros(4, 1)])
    assert trainer.progress_checker.get_epoch() == 2
    assert len(trainer.history) == 1
    trainer.presses = 2
    with pytest.raises(KeyboardInterrupt):
        trainer.run(3, [torch.zeros(4, 1)])
    assert trainer.progress_checker.get_epoch() == 2


def test_a_handler_of_the_users_own_is_called_and_comes_back():
    pressed = []

    def own(number, frame):
        pressed.append(number)

    class Presses(Counting):
        def train_step(self, batch):
            os.kill(os.getpid(), signal.SIGINT)
            return super().train_step(batch)

    before = signal.signal(signal.SIGINT, own)
    try:
        trainer = make(Presses)
        trainer.run(1, [torch.zeros(4, 1)] * 3)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT] * 3
    assert len(trainer.history.steps()) == 3


def test_an_exception_after_a_held_interrupt_ends_as_the_interrupt_and_leaves_the_handler():
    class Breaks(Counting):
        def logging(self, step_dict):
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("no log")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        make(Breaks).run(1, [torch.zeros(4, 1)])
    assert signal.getsignal(signal.SIGINT) is handler
    trainer = make(Counting)
    trainer.run(1, [torch.zeros(4, 1)])
    assert len(trainer.history) == 1
