"""Weights & Biases: offline runs beside each other, and whether they are active."""

from __future__ import annotations

import threading
import warnings

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from zae_lightning.launchers.remote_proxy import make_proxies
from zae_lightning.loggers.wandb import (
    active_runs,
    claim,
    close_run,
    ensure_is_live,
    logger_of,
    set_global_run,
    start_run,
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    return {"project": "p", "mode": "offline", "dir": str(tmp_path)}


def test_a_second_run_does_not_end_the_first(settings):
    first, second = start_run(settings), start_run(settings)
    assert first is not second
    assert first.is_live()
    close_run(second)
    assert first.is_live()
    assert not second.is_live()
    close_run(first)
    assert not first.is_live()  # fails if wandb renames _is_finished


def test_the_user_decides_on_reinit(settings):
    first = start_run(settings)
    second = start_run({**settings, "reinit": "return_previous"})
    assert second is first
    close_run(first)


def test_a_disabled_run_counts_as_active():
    run = ensure_is_live(wandb.init(mode="disabled"))
    assert run.is_live()
    run.finish()
    assert not run.is_live()
    with ensure_is_live(wandb.init(mode="disabled")) as run:
        assert run.is_live()
    assert not run.is_live()
    wandb.finish()


def test_a_disabled_run_is_no_active_run(settings):
    disabled = start_run({**settings, "mode": "disabled"})
    assert disabled.is_live()
    assert active_runs() == []
    run = start_run(settings)
    assert run is not disabled
    assert wandb.run is run  # as without the disabled run
    close_run(disabled)
    assert run.is_live()
    assert wandb.run is run
    close_run(run)


def test_a_disabled_run_leaves_the_users_run_in_its_place(settings):
    mine = wandb.init(**settings)
    disabled = start_run({**settings, "mode": "disabled"})
    assert disabled is not mine
    assert wandb.run is mine
    close_run(disabled)
    assert wandb.run is mine
    wandb.log({"loss": 1.0})
    assert mine.summary["loss"] == 1.0
    mine.finish()


def test_a_run_that_the_user_has_opened_is_continued(settings):
    mine = wandb.init(**settings, config={"a": 1, "b": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert start_run({**settings, "config": {"b": 2}}) is mine
    assert (mine.config["a"], mine.config["b"]) == (1, 2)
    assert mine.is_live()
    mine.finish()
    assert not mine.is_live()


@pytest.mark.parametrize("way", [{"reinit": "create_new"}, {"id": "another"}, {"settings": {"reinit": "create_new"}}])
def test_a_new_run_beside_the_users_where_the_dict_asks_for_it(settings, way):
    mine = wandb.init(**settings)
    run = start_run({**settings, **way})
    assert run is not mine
    assert run.id == way.get("id", run.id)
    assert wandb.run is mine
    close_run(run)
    mine.finish()


def test_an_active_run_is_continued_by_its_id(settings):
    first = start_run({**settings, "id": "one"})
    other = start_run({**settings, "id": "two"})
    mine = wandb.init(**{**settings, "id": "three", "reinit": "create_new"})
    for run in (first, other, mine):
        assert start_run({**settings, "id": run.id}) is run
        assert start_run({**settings, "id": run.id, "resume": "allow"}) is run
    for run in (first, other, mine):
        run.finish()
    assert active_runs() == []
    again = start_run({**settings, "id": "one"})
    assert again is not first
    close_run(again)


def test_of_other_trainers_runs_none_is_taken_and_trainers_finish_their_own(settings):
    mine = wandb.init(**settings)
    assert claim(start_run(settings), [mine]) is False
    mine.finish()
    first = start_run(settings)
    second = start_run(settings)
    assert second is not first
    assert claim(second, [first]) is True
    by_itself = wandb.init(**{**settings, "reinit": "create_new"})  # in an override of init_wandb
    assert claim(by_itself, [first, second]) is True
    for run in (first, second, by_itself):
        close_run(run)


def test_when_a_run_ends_the_function_log_reaches_the_latest_of_the_others(settings):
    first, second = start_run(settings), start_run(settings)
    assert wandb.run is first
    close_run(first)
    assert wandb.run is second
    wandb.log({"loss": 1.0})
    assert second.summary["loss"] == 1.0
    close_run(second)
    assert wandb.run is None


def test_runs_that_threads_open_at_once_are_different(settings):
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(start_run(settings))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.id for run in runs}) == 4
    for run in runs:
        close_run(run)


def test_the_logger_keeps_the_configuration_of_the_user(settings):
    run = wandb.init(**settings, config={"model": "resnet", "lr": 0.5})
    logger = logger_of(run)
    logger.log_hyperparams({"model": "Linear", "parameters": 22})
    assert (run.config["model"], run.config["lr"], run.config["parameters"]) == ("resnet", 0.5, 22)
    logger_of(run).log_hyperparams({"parameters": 33})
    assert run.config["parameters"] == 33
    run.finish()


def test_a_finished_run_says_what_to_do(settings):
    run = start_run({**settings, "id": "finished", "name": "mine"})
    logger = logger_of(run)
    run.finish()
    for log in (logger.log_metrics, logger.log_hyperparams):
        with pytest.raises(
            RuntimeError, match=r"run finished \('mine'\) is finished\. Build a new trainer.*wandb\.init"
        ):
            log({"loss": 1.0})


def test_a_disabled_run_takes_values_after_its_end_too():
    run = start_run({"mode": "disabled"})
    close_run(run)
    logger_of(run).log_metrics({"loss": 1.0}, 0)


def test_functions_of_the_module_reach_a_run_and_its_proxy(settings):
    run = wandb.init(**settings)
    calls = []
    [proxy] = make_proxies({"run": None}, lambda *call: calls.append(call)).values()
    try:
        set_global_run(proxy)
        assert wandb.run is proxy
        wandb.log({"loss": 1.0}, step=3)
        wandb.summary["best"] = 2.0
        wandb.define_metric("loss")
        assert calls == [
            (("run", "log"), ({"loss": 1.0},), {"step": 3}),
            (("run", "summary", "__setitem__"), ("best", 2.0), {}),
            (("run", "define_metric"), ("loss",), {}),
        ]
        assert wandb.config is run.config
    finally:
        set_global_run(run, run.config)
    wandb.log({"loss": 5.0})
    assert run.summary["loss"] == 5.0
    run.finish()


def test_the_list_of_active_runs_that_is_private_to_wandb(settings):
    hidden = wandb.init(**{**settings, "reinit": "create_new"})
    assert wandb.run is None
    assert active_runs() == [hidden]
    hidden.finish()
    assert active_runs() == []


def test_is_live_of_the_run_itself_stays():
    class Run:
        def is_live(self):
            return "own"

    assert ensure_is_live(Run()).is_live() == "own"


def test_the_logger_logs_to_the_run(settings):
    run = start_run(settings)
    logger = logger_of(run)
    assert isinstance(logger, WandbLogger)
    assert logger.experiment is run
    close_run(run)
