"""Settings of Weights & Biases: what is asked for, and warnings about what an active run cannot take."""

from __future__ import annotations

import argparse
import warnings

import pytest
import wandb
from zae_lightning.loggers.wandb_settings import apply_to_active_run, asks_for_new_run, requested_settings


def apply(run, params):
    apply_to_active_run(run, params, requested_settings(params), run.id)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="p", mode="offline", dir=str(tmp_path), tags=["a", "b"], group="g")
    yield run
    run.finish()


def test_arguments_and_settings_have_one_name_and_arguments_win():
    params = {"name": "a", "id": None, "settings": wandb.Settings(run_name="b", run_notes="c")}
    assert requested_settings(params) == {"run_name": "a", "run_notes": "c"}
    assert requested_settings({"settings": {"run_id": "x"}, "reinit": "default"}) == {"run_id": "x"}


@pytest.mark.parametrize(
    ("params", "new"),
    [
        ({}, False),
        ({"id": "x", "resume": "allow"}, False),
        ({"reinit": "return_previous"}, False),
        ({"reinit": False}, False),
        ({"reinit": True}, True),
        ({"reinit": "create_new"}, True),
        ({"reinit": "finish_previous"}, True),
        ({"settings": {"reinit": "create_new"}}, True),
        ({"mode": "disabled"}, True),
        ({"resume": "never"}, True),
        ({"fork_from": "run?_step=1"}, True),
    ],
)
def test_who_asks_for_a_new_run(params, new):
    assert asks_for_new_run(requested_settings(params)) is new


def test_equal_settings_cost_no_warning(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        apply(run, {"project": "p", "mode": "offline", "dir": tmp_path, "tags": ("b", "a"), "group": "g", "notes": ""})
        apply(run, {"id": run.id, "resume": "allow", "reinit": "return_previous", "settings": {"run_group": "g"}})


def test_settings_that_differ_are_named_with_both_values(run):
    with pytest.warns(UserWarning, match="cannot take these settings") as caught:
        apply(run, {"project": "q", "name": "n", "monitor_gym": True, "settings": {"run_group": "h"}})
    [message] = [str(warning.message) for warning in caught]
    for part in ("project='q' (the run has 'p')", "name='n'", "monitor_gym=True", "run_group='h' (the run has 'g')"):
        assert part in message
    assert "tags" not in message
    assert '"reinit": "create_new"' in message


def test_the_configuration_is_added(run):
    run.config.update({"a": 1, "b": 1})
    apply(run, {"config": {"b": 2, "c": 3}})
    apply(run, {"config": argparse.Namespace(d=4)})
    assert {key: run.config[key] for key in "abcd"} == {"a": 1, "b": 2, "c": 3, "d": 4}
