"""Feeding loggers: what they are given, when, and what happens if they fail."""

from __future__ import annotations

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger

from tests.conftest import Classifier


class Remembering(Logger):
    name = version = "remembering"

    def __init__(self):
        super().__init__()
        self.rows, self.parameters = [], []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        self.parameters.append(params)


class Failing(Remembering):
    def log_metrics(self, metrics, step=None):
        raise OSError(28, "No space left on device")


class Mixed(Classifier):
    def train_step(self, batch):
        return {**super().train_step(batch), "word": "a", "vector": batch[0], "my_output": 1.0, "number": 3}

    def metric_on_epoch_end(self):
        return {"score": 0.5, "name": "b"}


def test_numbers_are_logged_and_nothing_else(make, loader, valid_loader):
    trainer, logger = make(Mixed), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, loader, valid_loader)
    assert [sorted(row) for _, row in logger.rows[:3]] == [["acc", "loss", "lr", "number"]] * 3
    assert logger.rows[3] == (2, {"train_score": 0.5})
    assert sorted(logger.rows[4][1]) == ["test_loss", "test_score"]
    assert [step for step, _ in logger.rows] == [0, 1, 2, 2, 2]


def test_hyperparameters_are_logged_once_to_each_logger(make, loader):
    trainer, first, second = make(), Remembering(), Remembering()
    trainer.loggers.append(first)
    trainer.run(1, loader)
    trainer.loggers.append(second)
    trainer.run(1, loader)
    trainer.run_epoch(loader)
    for logger in (first, second):
        assert len(logger.parameters) == 1
        assert logger.parameters[0]["model"] == "Linear"
    assert [step for step, _ in second.rows] == list(range(3, 9))


def test_what_was_logged_before_an_interrupt_is_handed_over(make, loader):
    class Interrupted(Classifier):
        def train_step(self, batch):
            if self.progress_checker.get_step() == 5:
                raise KeyboardInterrupt
            return super().train_step(batch)

    trainer, logger = make(Interrupted), Remembering()
    trainer.loggers.append(logger)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(2, loader)
    assert [row["loss"] for _, row in logger.rows] == [float(loss) for loss in trainer.get_loss_history()]


def test_a_logger_that_fails_costs_one_warning_and_not_the_run(make, loader):
    trainer, logger = make(), Remembering()
    trainer.loggers += [Failing(), logger]
    with pytest.warns(UserWarning, match=r"Failing.log_metrics failed \(OSError: .*No space left") as caught:
        trainer.run(3, loader)
    assert len(caught) == 1
    assert len(logger.rows) == len(trainer.get_loss_history()) == 9


def test_lightnings_csv_logger_has_all_steps(make, loader, valid_loader, tmp_path):
    trainer = make()
    trainer.loggers.append(CSVLogger(tmp_path, name="n", version="v"))
    trainer.run(2, loader, valid_loader)
    lines = (tmp_path / "n" / "v" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    losses = [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]
    assert losses == pytest.approx([float(loss) for loss in trainer.get_loss_history()])
