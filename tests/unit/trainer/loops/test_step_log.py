"""Step log: where what a step returned goes."""

from __future__ import annotations

from collections import defaultdict

import torch
from torchmetrics import MeanAbsoluteError

from zae_engine.trainer.distributed.world import World
from zae_engine.trainer.loops.step_log import log


def test_values_go_to_the_log_of_the_mode_and_losses_to_the_history(make):
    trainer = make()
    log(trainer, {"loss": torch.tensor(0.5, requires_grad=True), "note": "a"})
    trainer.toggle("test")
    log(trainer, {"loss": torch.tensor(0.25)})
    assert (trainer.log_train["loss"][0].item(), trainer.log_train["note"]) == (0.5, ["a"])
    assert not trainer.log_train["loss"][0].requires_grad
    assert trainer.log_test["loss"] == [torch.tensor(0.25)]
    assert (trainer.history.steps("train"), trainer.history.steps("test")) == ([0.5], [0.25])


def test_a_log_of_the_users_own_receives_the_values(make):
    trainer = make()
    trainer.log_train = defaultdict(list)
    log(trainer, {"loss": torch.tensor(0.5)})
    assert trainer.log_train == {"loss": [torch.tensor(0.5)]}


def test_metrics_are_updated_from_preds_and_target(make):
    trainer = make(metrics={"mae": MeanAbsoluteError()})
    log(trainer, {"loss": torch.tensor(0.5), "preds": torch.ones(2), "target": torch.zeros(2)})
    log(trainer, {"loss": torch.tensor(0.5), "preds": torch.ones(2)})  # without a target it is left out
    assert trainer._zae_state.records.metrics.compute("train") == {"mae": torch.tensor(1.0)}


def test_in_several_processes_the_tracker_records_every_key(make):
    trainer = make()
    trainer._zae_state.process.world = world = World(0, 2, 0, 2)
    trainer.log_reset()
    world.log_tracker.select(torch.ones(4, 10))
    log(trainer, {"loss": torch.tensor(0.5), "acc": torch.tensor(1.0)})
    assert trainer.log_train.keys() == {"loss", "acc"}
