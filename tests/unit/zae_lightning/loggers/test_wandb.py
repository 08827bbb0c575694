"""Weights & Biases: offline runs beside each other, and whether they are active."""

from __future__ import annotations

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from zae_lightning.loggers.wandb import close_run, ensure_is_live, logger_of, start_run


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
