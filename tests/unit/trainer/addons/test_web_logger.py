"""Logging to real offline runs of Weights & Biases and Neptune, read back and compared with the trainer's records."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.conftest import Classifier
from tests.trackers import NEPTUNE, losses, wandb_history, wandb_settings
from zae_engine.trainer.addons import NeptuneLoggerAddon, StateManagerAddon, WandBLoggerAddon, read_offline_run

Logging = Classifier.add_on(WandBLoggerAddon)
Neptune = Classifier.add_on(NeptuneLoggerAddon)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")


def use(trainer, loader, valid_loader):
    trainer.run(2, loader, valid_loader)
    trainer.run(1, loader)
    trainer.run(1, loader, valid_loader)
    return losses(trainer), losses(trainer, "test")


def test_wandb_has_every_step_in_order_and_the_means_of_tests(make, loader, valid_loader):
    trainer = make(Logging, web_logger=wandb_settings(), scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5))
    trained, tested = use(trainer, loader, valid_loader)
    assert trainer.web_logger["wandb"].is_live()
    trainer.web_logger["wandb"].finish()
    assert not trainer.web_logger["wandb"].is_live()
    history, config = wandb_history()
    rows = [row for row in history if "loss" in row]
    assert [row["loss"] for row in rows] == trained
    assert [row["trainer/global_step"] for row in rows] == list(range(12))
    assert [row["lr"] for row in rows] == [0.1] * 3 + [0.05] * 3 + [0.025] * 3 + [0.0125] * 3
    means = [row["test_loss"] for row in history if "test_loss" in row]
    assert means == pytest.approx([sum(tested[i : i + 2]) / 2 for i in (0, 2, 4)])
    steps = [row["trainer/global_step"] for row in history]
    assert steps == sorted(steps)
    assert (config["model"], config["parameters"], config["optimizer"], config["optimizer.lr"]) == (
        "Linear",
        22,
        "SGD",
        0.1,
    )
    assert (config["mode"], config["scheduler"], config["batch_size"], config["gradient_clip"]) == (
        "train",
        "StepLR",
        8,
        0.0,
    )


def test_neptune_has_every_step_in_order_and_the_means_of_tests(make, loader, valid_loader):
    trainer = make(Neptune, web_logger=NEPTUNE)
    trained, tested = use(trainer, loader, valid_loader)
    assert trainer.web_logger["neptune"].is_live()
    run = read_offline_run(".neptune")  # all is on the disk before the run is stopped
    trainer.web_logger["neptune"].stop()
    assert not trainer.web_logger["neptune"].is_live()
    for run in (run, read_offline_run(".neptune")):  # noqa: B020
        assert [point.value for point in run["loss"]] == trained
        assert [point.step for point in run["loss"]] == list(range(12))
        assert [point.value for point in run["test_loss"]] == pytest.approx(
            [sum(tested[i : i + 2]) / 2 for i in (0, 2, 4)]
        )
        assert run.values_set["parameters/optimizer"] == "SGD"
        assert run.values_set["parameters/parameters"] == 22


@pytest.mark.parametrize("order", [(WandBLoggerAddon, NeptuneLoggerAddon), (NeptuneLoggerAddon, WandBLoggerAddon)])
def test_both_loggers_in_either_order_with_the_state_manager_between(make, loader, order):
    cls = Classifier.add_on(order[0], StateManagerAddon, order[1])
    trainer = make(cls, web_logger=wandb_settings() | NEPTUNE, save_path="state")
    assert set(trainer.web_logger) == {"wandb", "neptune"}
    trainer.run(2, loader)
    expected = losses(trainer)
    runs = list(trainer.web_logger.values())
    del trainer  # finishes both
    assert not any(run.is_live() for run in runs)
    assert [row["loss"] for row in wandb_history()[0] if "loss" in row] == expected
    assert [point.value for point in read_offline_run(".neptune")["loss"]] == expected


def test_two_trainers_have_a_run_each(make, loader):
    first, second = make(Logging, web_logger=wandb_settings()), make(Logging, web_logger=wandb_settings())
    assert first.web_logger["wandb"].id != second.web_logger["wandb"].id
    first.run(1, loader)
    second.run(2, loader)
    first.run(1, loader)
    expected = sorted([losses(first), losses(second)])
    del first, second
    gc.collect()
    assert sorted([row["loss"] for row in wandb_history(i)[0] if "loss" in row] for i in (0, 1)) == expected


def test_running_a_notebook_cell_again_and_again_gives_each_trainer_its_own_run(make, loader):
    ids = set()
    for _ in range(4):
        trainer = make(Logging, web_logger=wandb_settings())  # the one before is freed after this one is made
        trainer.run(1, loader)
        ids.add(trainer.web_logger["wandb"].id)
        assert trainer.web_logger["wandb"].is_live()
    assert len(ids) == 4
    first, second = (make(Logging, web_logger=wandb_settings()) for _ in range(2))
    first.web_logger["wandb"].finish()
    third = make(Logging, web_logger=wandb_settings())
    assert third.web_logger["wandb"] is not second.web_logger["wandb"]


def test_overridden_starts_of_runs_as_0_7_6_had_them(make, loader):
    class Own(Logging.add_on(NeptuneLoggerAddon)):
        def init_wandb(self, params):
            import wandb

            return wandb.init(**params)

        def init_neptune(self, params):
            import neptune

            params.pop("project_name")
            run = neptune.init_run(**params)
            self.add_state_checker(run)
            return run

    trainer = make(Own, web_logger=wandb_settings() | NEPTUNE)
    trainer.run(1, loader)
    runs = list(trainer.web_logger.values())
    assert all(run.is_live() for run in runs)
    del trainer
    assert not any(run.is_live() for run in runs)


def test_lightning_finds_its_own_wandb_logger(make, loader):
    from lightning.pytorch.loggers import WandbLogger

    trainer = make(Logging, web_logger=wandb_settings())
    trainer.run(1, loader)
    (logger,) = trainer.lightning_trainer.loggers
    assert isinstance(logger, WandbLogger)
    assert logger.experiment is trainer.web_logger["wandb"]


def test_a_disabled_run_and_no_run_at_all(make, loader):
    trainer = make(Logging, web_logger={"wandb": {"mode": "disabled"}})
    trainer.run(1, loader)
    assert trainer.web_logger["wandb"].is_live()
    for web_logger in (None, {}, {"neptune": {}}):
        trainer = make(Logging, web_logger=web_logger)
        trainer.run(1, loader)
        assert trainer.web_logger == {}
    assert not Path("wandb").exists()


def test_settings_of_the_user_are_not_changed_and_must_be_dicts(make):
    settings = {"neptune": dict(NEPTUNE["neptune"])}
    make(Neptune, web_logger=settings).web_logger["neptune"].stop()
    assert settings == NEPTUNE
    with pytest.raises(TypeError, match=r"web_logger='wandb' is no dict of dicts"):
        make(Logging, web_logger="wandb")


def test_a_service_that_is_not_there_costs_one_warning_and_nothing_else(make, loader):
    settings = {"neptune": {"project_name": "w/p", "api_tkn": "false"}}
    with pytest.warns(UserWarning, match=r"ended in March 2026.*recorded\s+offline.*self-hosted") as caught:
        trainer = make(Neptune, web_logger=settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trainer.run(2, loader)
    assert len([w for w in caught if w.category is UserWarning]) == 1
    expected = losses(trainer)
    del trainer
    assert [point.value for point in read_offline_run(".neptune")["loss"]] == expected


@pytest.mark.parametrize("cls", [Logging, Neptune])
def test_a_trainer_with_loggers_can_be_pickled_without_its_runs(make, loader, cls):
    trainer = make(cls, web_logger=wandb_settings() | NEPTUNE)
    trainer.run(1, loader)
    twin = pickle.loads(pickle.dumps(trainer))
    assert type(twin) is type(trainer)
    assert (twin.web_logger, twin.loggers) == ({}, [])
    twin.run(1, loader)
    assert all(run.is_live() for run in trainer.web_logger.values())


def test_a_run_is_finished_when_the_program_ends(tmp_path):
    script = (
        "import torch; from tests.conftest import Classifier\n"
        "from zae_engine.trainer.addons import WandBLoggerAddon\n"
        "model = torch.nn.Linear(10, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=.1)\n"
        "trainer = Classifier.add_on(WandBLoggerAddon)(model, 'cpu', optimizer=optimizer,\n"
        "    log_bar=False, web_logger={'wandb': {'mode': 'offline', 'project': 'p'}})\n"
        "for _ in range(3): trainer.run_batch((torch.randn(4, 10), torch.zeros(4).long()))\n"
    )
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(root)})
    assert len([row for row in wandb_history()[0] if "loss" in row]) == 3


@pytest.mark.parametrize(("package", "add_on"), [("wandb", "WandBLoggerAddon"), ("neptune", "NeptuneLoggerAddon")])
def test_without_the_package_importing_works_and_using_says_what_to_install(package, add_on):
    script = (
        f"import sys; sys.modules['{package}'] = None\n"
        "from tests.conftest import Classifier; import torch\n"
        f"from zae_engine.trainer.addons import {add_on}\n"
        f"cls = Classifier.add_on({add_on})\n"
        "cls(torch.nn.Linear(1, 1), 'cpu')\n"
        "try:\n"
        f"    cls(torch.nn.Linear(1, 1), 'cpu', web_logger={{'{package}': {{}}}})\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    root = str(Path(__file__).parents[4])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert f"{add_on} needs the package {package}" in done.stdout
    assert f"pip install 'zae-engine[{package}]'" in done.stdout
