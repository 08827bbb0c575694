"""Latest: the latest state of a folder, where a process was killed before it has removed the older ones."""

from __future__ import annotations

import shutil

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.checkpoint.storage.latest import earlier_saves, latest_state


class Scripted(Classifier):
    """The test losses are those of ``losses``, an epoch each."""

    losses: tuple[float, ...] = ()

    def test_step(self, batch):
        return {"loss": torch.tensor(self.losses[self.progress_checker.get_epoch() - 1])}


@pytest.fixture
def run(make, tmp_path, loader, valid_loader):
    def run(*losses, loads=True, n=None):
        trainer = make(Scripted.add_on(StateManagerAddon), save_path=tmp_path, save_every=1)
        trainer.losses = losses
        if loads:
            trainer.load_state(missing_ok=True)
        trainer.run(n if n is not None else len(losses) - len(trainer.history), loader, valid_loader)
        return trainer

    return run


@pytest.fixture
def killed(run, tmp_path):
    """Leave folders as a process does that is killed after a save, before it has removed the older states."""

    def killed(*losses, names=("latest",), **kwargs):
        for name in names:
            shutil.copytree(tmp_path / name, tmp_path / f"kept_{name}")
        trainer = run(*losses, **kwargs)
        for name in names:
            assert not (tmp_path / name).exists()
            (tmp_path / f"kept_{name}").rename(tmp_path / name)
        return trainer

    return killed


def loaded(run, losses):
    return run(*losses, n=0)


def test_a_best_state_is_later_than_the_latest_one_that_is_left_over(run, killed):
    run(3.0, 4.0, 5.0)
    killed(3.0, 4.0, 5.0, 1.0)
    trainer = loaded(run, (3.0, 4.0, 5.0, 1.0))
    assert len(trainer.history) == 4
    assert trainer.loss_buffer == 1.0


def test_the_best_state_of_a_new_run_is_later_than_what_a_longer_run_has_left(run, killed):
    run(3.0, 4.0, 5.0, 6.0)
    killed(9.0, loads=False)
    assert len(loaded(run, (9.0,)).history) == 1


def test_the_latest_state_is_later_than_the_best_one_also_after_a_left_over_one_was_replaced(run, killed):
    run(3.0, 4.0, 5.0)
    killed(3.0, 4.0, 5.0, 1.0)
    losses = (3.0, 4.0, 5.0, 1.0, 2.0)
    run(*losses)
    trainer = loaded(run, losses)
    assert len(trainer.history) == 5
    assert trainer.loss_buffer == 1.0


def test_a_later_state_replaces_that_of_a_stopped_run_that_is_left_over(run, killed, tmp_path):
    trainer = run(3.0, 4.0)
    trainer._zae_save_before_stopping()
    assert latest_state(str(tmp_path)).path == str(tmp_path / "stopped")
    killed(3.0, 4.0, 5.0, names=("stopped",))  # the third epoch is saved as the latest
    assert latest_state(str(tmp_path)).path == str(tmp_path / "latest")
    assert len(loaded(run, (3.0, 4.0, 5.0)).history) == 3
    assert not loaded(run, (3.0, 4.0, 5.0))._zae_save_status.is_stopped


def test_a_damaged_best_state_does_not_hide_the_latest_one(run, tmp_path):
    run(3.0, 4.0)
    (tmp_path / "trainer.zae").write_bytes(b"damaged")
    assert len(loaded(run, (3.0, 4.0)).history) == 2


def test_without_states_there_are_no_earlier_saves(tmp_path):
    assert earlier_saves(str(tmp_path), "stopped") == {"latest": None, "": None}
    assert latest_state(str(tmp_path)).path == str(tmp_path)
