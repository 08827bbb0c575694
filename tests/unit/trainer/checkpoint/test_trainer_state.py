"""Trainer state: plain values from which a new trainer has the same progress, best weights, history and numbers."""

from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.trainer.checkpoint.trainer_state import (
    callback_states,
    load_trainer_state_dict,
    random_states,
    resume_loaders,
    set_random_state_of_rank,
    trainer_state_dict,
)
from zae_engine.trainer.distributed.world import World
from zae_engine.trainer.epoch_summary import EpochSummary


class Counting(Classifier):
    def metric_on_epoch_end(self):
        return {"score": 0.5, "matrix": torch.eye(2)}


class Remembering(Callback):
    def state_dict(self):
        return {"count": 3}


class Odd(Callback):
    def state_dict(self):
        return {"object": object()}


def through_a_file(state, folder):
    torch.save(state, folder / "state")
    return torch.load(folder / "state", weights_only=True)


@pytest.fixture
def trained(make, loader, valid_loader):
    trainer = make(Counting)
    trainer.run(2, loader, valid_loader)
    return trainer


def test_a_new_trainer_gets_everything_but_the_parts(trained, make, tmp_path):
    state = through_a_file(trainer_state_dict(trained), tmp_path)
    expected = torch.rand(3)
    twin = make(Counting)
    load_trainer_state_dict(twin, state)
    assert torch.equal(torch.rand(3), expected)
    assert twin.progress_checker.state_dict() == trained.progress_checker.state_dict() == {"step": 11, "epoch": 3}
    assert twin.loss_buffer == trained.loss_buffer
    assert twin.weight_buffer["epoch"] == trained.weight_buffer["epoch"]
    best, other = (trainer.weight_buffer["weight"][-1] for trainer in (trained, twin))
    assert all(torch.equal(best[key], other[key]) for key in best)
    assert other._metadata == best._metadata
    assert twin.history == trained.history
    assert twin.test_metrics["score"] == 0.5
    assert torch.equal(twin.test_metrics["matrix"], torch.eye(2))
    assert dict(twin._zae_state.records.lightning_progress) == state["counts"]
    assert twin._zae_state.records.logger_connector.state_dict() == state["feed"]


def test_the_keys_are_a_format_on_disk(make):
    assert trainer_state_dict(make()).keys() == {
        *("format", "progress", "counts", "best", "history", "results", "random", "generators", "scaler", "feed"),
        *("ending", "underway", "saved_loss", "monitor"),
    }


def test_another_format_changes_nothing(trained, make):
    twin = make(Counting)
    with pytest.raises(ValueError, match="its format is 2, but 1 is expected"):
        load_trainer_state_dict(twin, {**trainer_state_dict(trained), "format": 2})
    assert twin.progress_checker.get_step() == 1


@pytest.mark.parametrize("key", ["progress", "counts", "best", "history", "random", "feed", "ending"])
def test_a_missing_key_is_found_before_or_at_its_use(trained, make, key):
    state = trainer_state_dict(trained)
    del state[key]
    with pytest.raises(KeyError, match=key):
        load_trainer_state_dict(make(Counting), state)


def test_values_that_a_file_cannot_hold_are_left_out_with_a_warning(trained):
    trained.test_metrics["figure"] = object()
    trained.history.add({"epoch": 3, "odd": object()})
    with pytest.warns(UserWarning, match="is not saved: a object is no plain value") as caught:
        state = trainer_state_dict(trained)
    assert sorted(str(warning.message).partition(" is")[0] for warning in caught) == [
        "a record['odd']",
        "test_metrics['figure']",
    ]
    assert state["history"]["epochs"][-1] == {"epoch": 3}
    assert "figure" not in state["results"]["test"]


@pytest.mark.parametrize("better", [None, True, False])
def test_a_state_from_the_end_of_an_epoch_finishes_the_epoch(trained, make, tmp_path, better):
    record = {"epoch": 3, "steps": 9, "train_loss": 0.1}
    trained._zae_state.run.epoch_summary = EpochSummary(record, 1e-9, True, {}, random_states(trained), better)
    trained.weight_buffer["weight"][-1]["bias"] += 1  # for a better epoch, the model's weights are the best
    state = through_a_file(trainer_state_dict(trained), tmp_path)
    assert (state["best"]["weights"] == "those of the model") == (better is True)
    twin = make(Counting, model=trained.model)
    load_trainer_state_dict(twin, state)
    assert twin.progress_checker.get_epoch() == 4
    assert twin.history[-1] == {**record, "best": better is not False}
    is_model = torch.equal(twin.weight_buffer["weight"][-1]["bias"], trained.model.bias)
    assert is_model == (better is not False)


def test_a_plateau_scheduler_steps_when_the_epoch_is_finished(make):
    trainer, twin = (make(scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau) for _ in range(2))
    trainer._zae_state.run.epoch_summary = EpochSummary({"epoch": 1}, 0.25, True, {}, random_states(trainer), True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_trainer_state_dict(twin, trainer_state_dict(trainer))
    assert twin.scheduler.best == 0.25


def test_a_rank_gets_its_own_random_state_only_if_the_number_of_ranks_is_the_same(make):
    trainer = make()
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states += random_states(trainer, alone=True)
    trainer._zae_state.records.pending_restore = {"random": states}
    torch.manual_seed(2)
    expected = torch.rand(1)
    for size, is_set in ((2, True), (3, False)):
        torch.manual_seed(5)
        trainer._zae_state.process.world = World(1, size, 1, size)
        set_random_state_of_rank(trainer)
        assert torch.equal(torch.rand(1), expected) == is_set


def test_the_random_states_of_ranks_that_have_not_started_are_saved_again(make):
    trainer = make()
    states = random_states(trainer, alone=True) * 3
    trainer._zae_state.records.pending_restore = {"random": states}
    assert len(trainer_state_dict(trainer)["random"]) == 3


def test_the_generators_of_loaders_repeat_their_draws(make, dataset, tmp_path):
    def build():
        return DataLoader(dataset, 4, shuffle=True, generator=torch.Generator().manual_seed(7))

    def order(loader):
        return torch.cat([y for _, y in loader]).tolist()

    trainer, twin = make(), make()
    trainer.run(1, build())
    state = through_a_file(trainer_state_dict(trainer), tmp_path)
    load_trainer_state_dict(twin, state)
    loader, fresh = build(), order(build())
    resume_loaders(twin, loader, None)
    assert order(loader) == order(trainer.loader) != fresh


def test_callback_states_are_those_of_the_callbacks_or_of_the_loaded_state(make, loader):
    trainer = make(callbacks=[Remembering(), Odd()])
    trainer.run(1, loader)
    with pytest.warns(UserWarning, match=r"the state of the callback\['Odd'\] is not saved"):
        state = callback_states(trainer)
    assert state["callbacks"] == {"Remembering": {"count": 3}}
    assert callback_states(make()) == {}
    twin = make()
    twin._zae_state.records.pending_restore = {"checkpoint": {**state, "loops": object()}}
    assert callback_states(twin) == state


def test_losses_of_every_kind_come_back(make, tmp_path):
    trainer, twin = make(), make()
    for value in (torch.tensor(1.0), torch.tensor([1.0, 3.0]), 0.5):
        trainer.history.losses["train"].append(value)
    for value in torch.rand(5):
        trainer.history.losses["test"].append(value)
    load_trainer_state_dict(twin, through_a_file(trainer_state_dict(trainer), tmp_path))
    assert twin.history.steps("train") == [1.0, 2.0, 0.5]
    assert twin.history.steps("test") == trainer.history.steps("test")


def test_a_saved_loss_comes_back_where_the_trainer_has_one(make):
    trainer, twin = make(model=nn.Linear(10, 2)), make()
    trainer.saved_loss = 0.25
    load_trainer_state_dict(twin, trainer_state_dict(trainer))
    assert not hasattr(twin, "saved_loss")
    twin.saved_loss = None
    load_trainer_state_dict(twin, trainer_state_dict(trainer))
    assert twin.saved_loss == 0.25
