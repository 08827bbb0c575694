"""Loggers: which loggers of a trainer receive what."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.loggers.logger import Logger

from zae_engine.trainer.distributed.world import World
from zae_engine.trainer.loops.loggers import active_loggers, log_epoch, log_hyperparams, log_train_step


class Recording(Logger):
    def __init__(self):
        super().__init__()
        self.rows, self.params = [], []

    name = version = None

    def log_metrics(self, metrics, step=None):
        self.rows.append((dict(metrics), step))

    def log_hyperparams(self, params, *args, **kwargs):
        self.params.append(dict(params))


@pytest.fixture
def logger():
    return Recording()


def test_other_ranks_and_names_of_the_user_log_nothing(make, logger):
    trainer = make(loggers=[logger])
    assert active_loggers(trainer) == [logger]
    trainer._zae_state.process.world = World(1, 2, 1, 2)
    assert active_loggers(trainer) == []
    trainer._zae_state.process.world = None
    trainer.loggers = "the user's own"
    assert active_loggers(trainer) == []
    trainer.loggers = [object(), logger]
    assert active_loggers(trainer) == [logger]


def test_hyperparameters_are_logged_once(make, logger):
    trainer = make(loggers=[logger], gradient_clip=0.5)
    log_hyperparams(trainer)
    log_hyperparams(trainer)
    (params,) = logger.params
    assert params["model"] == "Linear"
    assert params["parameters"] == 22
    assert params["optimizer.lr"] == 0.1
    assert params["gradient_clip"] == 0.5
    assert "scheduler" not in params


def test_a_step_is_logged_with_the_rate_of_its_update(make, logger):
    trainer = make(loggers=[logger])
    log_train_step(trainer, {"loss": torch.tensor(0.5)})
    trainer._zae_state.batch.update_lr = 0.75
    log_train_step(trainer, {"loss": torch.tensor(0.25)})
    assert logger.rows == [({"lr": 0.1, "loss": 0.5}, 0), ({"lr": 0.75, "loss": 0.25}, 1)]


def test_steps_are_counted_without_a_logger(make):
    trainer = make()
    log_train_step(trainer, {"loss": torch.tensor(0.5)})
    assert trainer._zae_state.records.logger_connector.step == 1


def test_of_a_training_epoch_only_metrics_are_logged(make, logger):
    trainer = make(loggers=[logger])
    log_epoch(trainer, {"train_loss": 1.0, "train_f1": 0.5}, {"f1": 0.5})
    trainer.toggle("test")
    log_epoch(trainer, {"test_loss": 1.0, "test_f1": 0.5}, {"f1": 0.5})
    assert [row for row, _ in logger.rows] == [{"train_f1": 0.5}, {"test_loss": 1.0, "test_f1": 0.5}]
