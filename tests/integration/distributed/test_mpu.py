"""MultiGPUAddon with processes that the trainer starts itself, on two CPUs; tests/…/ranks has what they compute."""

from __future__ import annotations

import collections
import os
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon, WandBLoggerAddon

TWO = ["cpu", "cpu"]


class Distributed(Classifier.add_on(MultiGPUAddon)):
    pass


# What comes home


class Remembers(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.ranks: list[int] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))
        self.ranks.append(trainer.global_rank)


class Remembering(Classifier.add_on(StateManagerAddon, MultiGPUAddon)):
    def train_step(self, batch):
        self.batches_seen = getattr(self, "batches_seen", 0) + 1
        self.model.last_batch = len(batch[0])
        return super().train_step(batch)


def test_the_trainer_is_as_if_it_had_trained_by_itself(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    model = nn.Linear(10, 2)
    before = model.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    trainer = make(
        Remembering, model=model, device=TWO, optimizer=optimizer, scheduler=scheduler, save_path=str(tmp_path)
    )
    callback, log_test = Remembers(), trainer.log_test
    trainer.callbacks.append(callback)
    random_state = torch.get_rng_state()

    trainer.run(2, loader, valid_loader)

    assert trainer.model is model
    assert not torch.equal(model.weight, before)
    assert optimizer.state[model.weight]["step"] == 4  # 3 batches are 2 steps for two processes
    assert trainer.optimizer is optimizer
    assert optimizer.param_groups[0]["params"][0] is model.weight
    assert scheduler.last_epoch == 2
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0025)
    assert len(trainer.get_loss_history("train")) == 4
    assert len(trainer.get_loss_history("test")) == 4
    assert trainer.log_test is log_test
    assert [len(entry) for entry in log_test["output"]] == [12, 12]
    assert trainer.progress_checker.get_epoch() == 3
    assert trainer.loss_buffer < float("inf")
    assert trainer.weight_buffer["epoch"] == [1]
    assert torch.equal(trainer.weight_buffer["weight"][0]["weight"], model.weight)
    assert trainer.lightning_trainer.global_step == 4
    assert trainer.lightning_trainer.current_epoch == 2
    assert trainer.loader is loader
    assert trainer.mode == "train"
    assert trainer.batches_seen == 4
    assert model.last_batch == 4  # 24 samples are 8 + 8, and 4 + 4 of the rest
    assert len(callback.losses) == 4
    assert set(callback.ranks) == {0}
    assert not torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(torch.load(tmp_path / "model.ckpt")["weight"], model.weight)
    assert trainer.saved_loss == trainer.loss_buffer

    trainer.run(1, loader)

    assert len(trainer.get_loss_history("train")) == 6
    assert optimizer.state[model.weight]["step"] == 6
    assert trainer.lightning_trainer.global_step == 6
    assert trainer.progress_checker.get_epoch() == 4

    trainer.load_state()
    assert trainer.optimizer is optimizer


class ShowsItsSamples(Distributed):
    def train_step(self, batch):
        return {**super().train_step(batch[:2]), "output": batch[2], "worker": float(os.getpid())}

    def test_step(self, batch):
        return {**super().test_step(batch[:2]), "output": batch[2]}


def test_each_sample_is_used_once_an_epoch_in_another_order_each_time(make: Any):
    data = TensorDataset(torch.randn(23, 10), torch.zeros(23, dtype=torch.long), torch.arange(23))
    trainer = make(ShowsItsSamples, device=TWO)
    orders = []
    for _ in range(2):
        trainer.run(1, DataLoader(data, 4, shuffle=True))
        orders.append(torch.cat(trainer.log_train["output"]).tolist())
    assert [sorted(order) for order in orders] == [list(range(23))] * 2
    assert orders[0] != orders[1]
    outputs = trainer.inference(DataLoader(data, 4))
    assert [output.tolist() for output in outputs] == [list(range(23))[start : start + 4] for start in range(0, 23, 4)]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(10, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(x.unsqueeze(1))[0][:, 0])


class TwoSteps(torch.optim.SGD):
    """An optimizer with attributes of its own, another optimizer among them, as SAM has."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.inner = torch.optim.Adam(self.param_groups, lr=lr)
        self.calls = 0

    def step(self, closure=None):
        self.calls += 1
        return self.inner.step(closure)


class Unreadable(Exception):
    def __init__(self, a, b):
        super().__init__(a)


class Strange(Classifier.add_on(MultiGPUAddon)):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.criterion = nn.Linear(2, 2)
        self.box = SimpleNamespace(net=nn.Linear(2, 2), deep={"nets": [nn.Linear(2, 2)]})
        self.recent = collections.deque(maxlen=3)

    def train_step(self, batch):
        x, y = batch
        output = self.box.deep["nets"][0](self.box.net(self.criterion(self.model(x))))
        self.recent.append(len(x))
        self.model.head.weight.requires_grad_(True)
        self.model.seen = {"batches": self.model.__dict__.get("seen", {"batches": 0})["batches"] + 1}
        self.last_error = Unreadable(1, 2)
        return {"loss": nn.functional.cross_entropy(output, y)}


def test_parts_of_many_kinds_come_home_into_the_callers_own_objects(make: Any, dataset: Any):
    model = Recurrent()
    model.head.weight.requires_grad_(False)
    trainer = make(Strange, model=model, device=TWO, optimizer=None)
    nets = [model, trainer.criterion, trainer.box.net, trainer.box.deep["nets"][0]]
    parameters = [parameter for net in nets for parameter in net.parameters()]
    trainer.optimizer = optimizer = TwoSteps(parameters, lr=0.01)
    recent, inner = trainer.recent, optimizer.inner
    before = [parameter.detach().clone() for parameter in parameters]
    loader = DataLoader(dataset, 4, shuffle=True, num_workers=1, persistent_workers=True)
    next(iter(loader))  # looked at
    with pytest.warns(UserWarning, match="last_error cannot be brought home"):
        trainer.run(2, loader)
    changed = [not torch.equal(old, new) for old, new in zip(before, parameters, strict=True)]
    assert sum(changed) >= len(parameters) - 1, changed  # the head's weight was unfrozen after the strategy had begun
    assert model.head.weight.requires_grad
    assert [trainer.box.net, trainer.box.deep["nets"][0]] == nets[2:]
    assert trainer.recent is recent
    assert list(recent) == [4, 4, 4]
    assert model.seen == {"batches": 6}
    assert (optimizer.calls, optimizer.inner) == (6, inner)
    assert inner.state[model.rnn.weight_ih_l0]["step"] == 6
    trainer.run(1, loader)
    assert optimizer.calls == 9


# Messages


def test_a_list_without_the_add_on_says_that_one_device_is_used(make: Any, loader: Any):
    with pytest.warns(UserWarning, match=r"list of 2, but the trainer has no MultiGPUAddon: it runs on the first, cpu"):
        trainer = make(device=TWO)
    trainer.run(1, loader)
    assert len(trainer.get_loss_history()) == 3


def test_the_add_on_with_one_device_runs_here_and_says_so_once(make: Any, loader: Any):
    trainer = make(Distributed, device="cpu")
    with pytest.warns(UserWarning, match="one device .*everything runs in this process"):
        trainer.run(1, loader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.run(1, loader)
    assert len(trainer.get_loss_history()) == 6


def test_devices_that_cannot_have_a_process_each_are_refused(make: Any, monkeypatch: Any):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="mixes"):
        make(Distributed, device=["cpu", "cuda:0"])
    with pytest.raises(ValueError, match="cuda:0 more than once"):
        make(Distributed, device=["cuda:0", "cuda"])


class Endless(torch.utils.data.Sampler):
    def __iter__(self):
        while True:
            yield [0, 1]


def test_loaders_that_cannot_be_dealt_out_are_refused(make: Any, dataset: Any):
    with pytest.raises(ValueError, match=r"batch sampler .*Endless, has no length.*Give it a __len__"):
        make(Distributed, device=TWO).run(1, DataLoader(dataset, batch_sampler=Endless()))
    with pytest.raises(ValueError, match=r"1 batch\(es\) and drop_last=True, but 2 processes"):
        make(Distributed, device=TWO).run(1, DataLoader(dataset, 20, drop_last=True))


# Loggers, warnings, strategies


class Warns(Classifier.add_on(WandBLoggerAddon, MultiGPUAddon)):
    def train_step(self, batch):
        if not self.loss_history_train:
            warnings.warn(f"of rank {self.primary_device_index}", stacklevel=2)
            self.web_logger["wandb"].log({"mine": 1.0})
        return super().train_step(batch)


def test_loggers_and_warnings_are_the_callers_and_come_from_rank_0(
    make: Any, loader: Any, valid_loader: Any, tmp_path: Any, monkeypatch: Any
):
    monkeypatch.chdir(tmp_path)
    trainer = make(Warns, device=TWO, web_logger={"wandb": {"mode": "offline", "project": "test"}})
    trainer.loggers.append(CSVLogger(tmp_path, "csv"))
    run = trainer.web_logger["wandb"]
    with pytest.warns(UserWarning, match="of rank") as caught:
        trainer.run(2, loader, valid_loader)
    assert [str(w.message) for w in caught if "of rank" in str(w.message)] == ["of rank 0"]
    assert trainer.web_logger["wandb"] is run
    assert run.is_live()
    assert run.summary["mine"] == 1.0
    assert run.summary["test_loss"] == pytest.approx(float(torch.stack(trainer.log_test["loss"]).mean()))
    run.finish()
    lines = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    assert len([line for line in lines if line]) == 1 + 4 + 2  # the names, the steps, the validations


def test_strategies_are_passed_on(make: Any, loader: Any):
    seen: list[str] = []
    for cls, kwargs in (
        (Classifier, {"lightning": {"strategy": "ddp_spawn_find_unused_parameters_true"}}),
        (Classifier.add_on(DDPStrategy(static_graph=True)), {}),
        (StrategyShown.add_on(LambdaCallback()), {"lightning": {"strategy": "ddp"}}),
    ):
        trainer = make(cls, device=TWO, **kwargs)
        trainer.run(1, loader)
        assert len(trainer.get_loss_history()) == 2
        seen.append(type(trainer.lightning_trainer.strategy).__name__)
    assert seen == ["DDPStrategy"] * 3
    assert trainer.strategy_in_the_run == ("DDPStrategy", 2)


class StrategyShown(Classifier):
    def train_step(self, batch):
        strategy = self.lightning_trainer.strategy
        self.strategy_in_the_run = (type(strategy).__name__, strategy.world_size)
        return super().train_step(batch)


def test_the_history_comes_home_and_lists_that_were_read_before_go_on(make: Any, loader: Any, valid_loader: Any):
    trainer = make(Distributed, device=["cpu", "cpu"])
    before = trainer.get_loss_history("train")
    history, log = trainer.history, trainer.log_test
    trainer.run(2, loader, valid_loader)
    assert trainer.history is history
    assert [record["epoch"] for record in history] == [1, 2]
    assert all(record["train_loss"] > 0 and record["test_loss"] > 0 for record in history)
    assert trainer.log_test is log
    assert trainer.get_loss_history("train") is before
    assert [float(loss) for loss in before] == history.steps("train")
    assert history[-1]["steps"] == len(before) == 2 * 2  # of 3 batches, 2 processes make 2 steps
    assert history[-1]["train_loss"] == pytest.approx(sum(map(float, before[2:])) / 2)
