"""Whose run it is: runs of the user, of one trainer and of several, disabled and finished ones, and exit codes."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from tests.conftest import Classifier
from tests.trackers import NEPTUNE, losses, wandb_files, wandb_history, wandb_settings
from tests.wandb_file import read_exit_code, read_wandb_run
from zae_engine.trainer.addons import NeptuneLoggerAddon, WandBLoggerAddon, read_offline_run

Logging = Classifier.add_on(WandBLoggerAddon)
Neptune = Classifier.add_on(NeptuneLoggerAddon)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_a_run_of_the_user_is_continued_and_left_open(make, loader):
    mine = wandb.init(**wandb_settings()["wandb"], config={"batch_size": 64, "lr": 0.5})
    expected = []
    for _ in range(2):  # as the cells of a notebook are run again
        trainer = make(Logging, web_logger={"wandb": {"config": {"lr": 0.1}}})
        assert trainer.web_logger["wandb"] is mine
        trainer.run(1, loader)
        expected += losses(trainer)
        del trainer
        assert mine.is_live()
    wandb.log({"mine": 1.0})
    mine.finish()
    history, config = wandb_history()
    assert [row["loss"] for row in history if "loss" in row] == expected
    assert history[-1]["mine"] == 1.0
    assert (config["batch_size"], config["lr"], config["model"]) == (64, 0.1, "Linear")


def test_a_run_of_the_user_keeps_its_settings_and_a_warning_names_those_of_the_dict(make):
    mine = wandb.init(**wandb_settings()["wandb"])
    with pytest.warns(UserWarning, match=r"continues the active run .*project='q' \(the run has 'p'\)"):
        trainer = make(Logging, web_logger={"wandb": {"project": "q"}})
    assert trainer.web_logger["wandb"] is mine
    other = make(Logging, web_logger={"wandb": {**wandb_settings()["wandb"], "reinit": "create_new"}})
    assert other.web_logger["wandb"] is not mine
    assert wandb.run is mine
    mine.finish()


def test_trainers_with_the_same_id_share_a_run_that_ends_with_the_last_of_them(make, loader):
    settings = {"wandb": {**wandb_settings()["wandb"], "id": "shared"}}
    first, second = make(Logging, web_logger=settings), make(Logging, web_logger=settings)
    run = first.web_logger["wandb"]
    assert second.web_logger["wandb"] is run
    first.run(1, loader)
    second.run(1, loader)
    expected = losses(first) + losses(second)
    del first
    assert run.is_live()
    del second
    assert not run.is_live()
    assert [row["loss"] for row in wandb_history()[0] if "loss" in row] == expected


def test_a_disabled_run_leaves_the_runs_of_other_trainers_alone(make, loader, monkeypatch):
    disabled = make(Logging, web_logger={"wandb": {"mode": "disabled"}})
    trainer = make(Logging, web_logger=wandb_settings())
    run = trainer.web_logger["wandb"]
    assert wandb.run is run
    disabled.run(1, loader)
    trainer.run(1, loader)
    expected = losses(trainer)
    silent = disabled.web_logger["wandb"]
    silent.finish()
    assert not silent.is_live()
    disabled.run(1, loader)
    assert wandb.run is run
    del trainer
    assert [row["loss"] for row in wandb_history()[0] if "loss" in row] == expected
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()  # the environment is read once
    silent = make(Logging, web_logger={"wandb": {}}).web_logger["wandb"]
    assert not silent.is_live()  # its trainer is gone
    wandb.teardown()


class Failing(Logging.add_on(NeptuneLoggerAddon)):
    def init_neptune(self, params):
        raise OSError("no connection")


class FailingLater(Logging):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        raise OSError("no connection")


@pytest.mark.parametrize("cls", [Failing, FailingLater])
def test_a_trainer_that_cannot_be_built_leaves_no_run_open(make, cls):
    with pytest.raises(OSError, match="no connection"):
        make(cls, web_logger=wandb_settings() | NEPTUNE)
    gc.collect()
    assert wandb.run is None
    assert len(wandb_files()) == 1
    wandb_history()  # of a run that is finished


def test_copies_of_a_trainer_have_no_run_and_end_none(make, loader):
    trainer = make(Logging, web_logger=wandb_settings())
    trainer.run(1, loader)
    twins = [copy.deepcopy(trainer), copy.copy(trainer)]
    assert all((twin.web_logger, twin.loggers) == ({}, []) for twin in twins)
    del twins
    assert trainer.web_logger["wandb"].is_live()
    assert len(trainer.loggers) == 1


def test_pickling_starts_no_experiment_of_the_users_loggers(make):
    class Lazy(DummyLogger):
        @property
        def experiment(self):
            pytest.fail("started")

    trainer = make(Logging, web_logger=wandb_settings(), loggers=Lazy())
    assert len(copy.copy(trainer).loggers) == 1


@pytest.mark.parametrize("finish", [lambda run: run.finish(), lambda run: wandb.finish()])
def test_a_run_that_the_user_finishes_between_two_runs_costs_one_warning(make, loader, finish):
    trainer = make(Logging, web_logger={"wandb": {**wandb_settings()["wandb"], "id": "mine"}})
    trainer.run(1, loader)
    finish(trainer.web_logger["wandb"])
    with pytest.warns(UserWarning, match=r"the run mine .*is finished.*trainer\.loggers\.append") as caught:
        trainer.run(2, loader)
    assert len([warning for warning in caught if "finished" in str(warning.message)]) == 1
    assert len(trainer.get_loss_history()) == 9
    run = wandb.init(**wandb_settings()["wandb"])
    trainer.loggers.append(WandbLogger())  # as the warning says
    trainer.run(1, loader)
    assert run.summary["loss"] == losses(trainer)[-1]
    run.finish()


def test_a_neptune_run_that_the_user_stops_between_two_runs_costs_one_warning(make, loader):
    trainer = make(Neptune, web_logger=NEPTUNE)
    trainer.run(1, loader)
    trainer.web_logger["neptune"].stop()
    with pytest.warns(UserWarning, match=r"the run \S+ is stopped") as caught:
        trainer.run(2, loader)
    assert len([warning for warning in caught if "is stopped" in str(warning.message)]) == 1


def test_keys_of_steps_below_one_another_lose_nothing_on_neptune(make, loader):
    class Nested(Neptune):
        def train_step(self, batch):
            step = super().train_step(batch)
            return {**step, "loss/main": step["loss"], "acc/top/1": step["acc"]}

    trainer = make(Nested, web_logger=NEPTUNE)
    with pytest.warns(UserWarning, match=r"'loss/main' beside 'loss'.*'loss_/main'"):
        trainer.run(1, loader)
    expected = losses(trainer)
    del trainer
    run = read_offline_run(".neptune")
    for path in ("loss", "loss_/main"):
        assert [point.value for point in run[path]] == expected


PROGRAM = """
import sys, torch
from tests.conftest import Classifier
from tests.trackers import NEPTUNE, losses, wandb_files, wandb_history, wandb_settings
from zae_engine.trainer.addons import WandBLoggerAddon
weight = torch.zeros(1, requires_grad=True)
weight.sum().backward(); torch.optim.SGD([weight], lr=.1).step()  # torch's first step keeps frames until a collection
def build():
    model = torch.nn.Linear(10, 2)
    trainer = Classifier.add_on(WandBLoggerAddon)(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), lr=.1),
        log_bar=False, web_logger={'wandb': {'mode': 'offline', 'project': 'p'}})
    for _ in range(3): trainer.run_batch((torch.randn(4, 10), torch.zeros(4).long()))
    return trainer
def main(end):
    trainer = build()
    end()
def fail():
    raise ValueError('no')
"""


def play(end, **environment):
    inherited = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    subprocess.run([sys.executable, "-c", PROGRAM + end], env=environment, capture_output=True)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("trainer = build()", 0),
        ("trainer = build(); fail()", 1),
        ("trainer = build(); sys.exit(3)", 3),
        ("trainer = build(); sys.exit('a message')", 1),
        ("main(int)", 0),
        ("main(fail)", 1),
        ("main(lambda: sys.exit(3))", 3),  # the trainer is freed before the exit hooks
        ("main(int); sys.exit(3)", 0),  # the trainer is freed before the program decides
    ],
)
def test_a_run_has_the_exit_code_of_the_program_and_every_value(end, code):
    play(end)
    [file] = wandb_files()
    assert read_exit_code(file) == code
    assert len([row for row in read_wandb_run(file)[0] if "loss" in row]) == 3


@pytest.mark.parametrize(("end", "code"), [("main(int)", 0), ("main(fail)", 1), ("main(lambda: sys.exit(3))", 3)])
def test_so_it_has_in_a_program_that_uses_the_service_of_another(end, code):
    wandb.setup().ensure_service()  # WANDB_SERVICE names it to the programs that this one starts
    play(end, WANDB_SERVICE=os.environ["WANDB_SERVICE"])
    [file] = wandb_files()
    assert read_exit_code(file) == code
