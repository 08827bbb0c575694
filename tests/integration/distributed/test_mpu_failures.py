"""MultiGPUAddon where something is refused or goes wrong: what the caller gets, and that no process is left."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

import psutil
import pytest
import torch
import zae_lightning
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon

from .test_mpu import TWO, Distributed


class NeedsALock(Distributed):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = {"lock": threading.Lock()}


class Doubles(torch.utils.data.Dataset):
    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.transform(torch.ones(10)), 0


def test_what_cannot_be_sent_is_named(make: Any, loader: Any):
    with pytest.raises(TypeError, match=r"loader\.dataset\.transform cannot be sent .*lambda"):
        make(Distributed, device=TWO).run(1, DataLoader(Doubles(lambda x: 2 * x), 4))
    with pytest.raises(TypeError, match=r"trainer\.helper\['lock'\] cannot be sent .*lock"):
        make(NeedsALock, device=TWO).run(1, loader)
    with pytest.raises(TypeError, match=r"valid_loader\.collate_fn cannot be sent .*lambda"):
        make(Distributed, device=TWO).run(1, loader, DataLoader(loader.dataset, 4, collate_fn=lambda rows: rows))

    class Local(Classifier):
        pass

    with pytest.raises(TypeError, match=r"class .*Local.* cannot be sent"):
        make(Local.add_on(MultiGPUAddon), device=TWO).run(1, loader)


def test_a_port_in_use_is_an_error_that_says_so(make: Any, loader: Any):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        trainer = make(Distributed, device=TWO, init_method=f"tcp://localhost:{port}")
        with pytest.raises(RuntimeError, match=rf"cannot listen at port {port}.*give another port"):
            trainer.run(1, loader)


def test_a_port_of_the_users_choice_and_a_file_to_meet_at_work(make: Any, loader: Any, tmp_path: Any):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for init_method in (f"tcp://localhost:{port}", f"file://{tmp_path}/meet"):
        trainer = make(Distributed, device=TWO, init_method=init_method)
        assert trainer.init_method == init_method
        trainer.run(1, loader)
        assert len(trainer.get_loss_history()) == 2


class OwnError(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class FailsOnRankOne(Distributed):
    def train_step(self, batch):
        if len(self.loss_history_train) == 1 and self.primary_device_index == 1:
            raise KeyError("no such key")
        return super().train_step(batch)


def test_an_exception_in_a_rank_reaches_the_caller_as_itself(make: Any, loader: Any):
    trainer = make(FailsOnRankOne, device=TWO)
    before = trainer.model.weight.detach().clone()
    with pytest.raises(KeyError, match="no such key") as caught:
        trainer.run(5, loader)
    assert "train_step" in str(caught.value.__cause__)
    assert "Rank 1 of 2" in str(caught.value.__cause__)
    assert not torch.equal(trainer.model.weight, before)  # the first step is kept
    assert len(trainer.get_loss_history()) == 1
    assert trainer.mode == "train"


class RaisesItsOwn(Distributed):
    def train_step(self, batch):
        raise OwnError(3, "detail")


def test_an_exception_that_cannot_be_sent_is_told_of(make: Any, loader: Any):
    with pytest.raises(zae_lightning.ProcessFailed, match="OwnError: 3: detail") as caught:
        make(RaisesItsOwn, device=TWO).run(1, loader)
    assert "train_step" in str(caught.value.__cause__)


class Dies(Distributed):
    rank, how = 0, "SIGKILL"

    def train_step(self, batch):
        if len(self.loss_history_train) == 1 and self.primary_device_index == self.rank:
            if self.how == "exit":
                os._exit(3)
            os.kill(os.getpid(), getattr(signal, self.how))
        return super().train_step(batch)


class TheOtherDies(Dies):
    rank = 1


class Exits(TheOtherDies):
    how = "exit"


@pytest.mark.parametrize(
    ("cls", "message"),
    [(Dies, "rank 0.*signal SIGKILL"), (TheOtherDies, "rank 1.*signal SIGKILL"), (Exits, "rank 1.*exit code 3")],
)
def test_a_rank_that_dies_ends_the_run_promptly(make: Any, dataset: Any, cls: type, message: str):
    loader = DataLoader(dataset, 4, num_workers=1, persistent_workers=True)  # its worker must go too
    trainer = make(cls, device=TWO)
    with pytest.raises(zae_lightning.ProcessFailed, match=message):
        trainer.run(3, loader)
    assert trainer.mode == "train"
    assert trainer.loader is loader


class HangsOnRankOne(Distributed):
    def train_step(self, batch):
        if self.primary_device_index == 1:
            time.sleep(1000)
        raise ValueError("rank 0 cannot go on")


def test_a_rank_that_hangs_does_not_hold_up_the_error_of_another(make: Any, loader: Any):
    with pytest.raises(ValueError, match="rank 0 cannot go on"):
        make(HangsOnRankOne, device=TWO).run(1, loader)


class Sleeps(Distributed):
    def train_step(self, batch):
        if len(self.loss_history_train) == 2:
            self.told = print("asleep", flush=True)
            time.sleep(60)
        return super().train_step(batch)


def test_an_interrupt_of_the_caller_stops_the_ranks_and_keeps_what_is_done(make: Any, loader: Any):
    trainer = make(Sleeps, device=TWO)
    before = trainer.model.weight.detach().clone()
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    asleep = threading.Thread(target=_interrupt_when_two_sleep)
    asleep.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.run(5, loader)
    finally:
        signal.signal(signal.SIGINT, old)
        asleep.join()
    assert len(trainer.get_loss_history()) == 2
    assert not torch.equal(trainer.model.weight, before)
    assert trainer.progress_checker.get_epoch() == 2
    trainer.train_step = None  # so that it goes on with the class's
    del trainer.train_step
    trainer.loss_history_train.append(torch.tensor(0.0))
    trainer.run(1, loader)
    assert trainer.progress_checker.get_epoch() == 3


def _interrupt_when_two_sleep() -> None:
    """Interrupt this process when both ranks have computed for a while and then wait."""
    me, limit = psutil.Process(), time.monotonic() + 60
    while time.monotonic() < limit:
        ranks = [child for child in me.children() if "spawn_main" in " ".join(child.cmdline())]
        if len(ranks) == 2:
            used = [sum(rank.cpu_times()[:2]) for rank in ranks]
            time.sleep(2)
            if all(
                rank.is_running() and sum(rank.cpu_times()[:2]) - past < 0.2
                for rank, past in zip(ranks, used, strict=True)
            ):
                break
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
