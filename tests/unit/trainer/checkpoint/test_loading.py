"""Loading: a state that fits is loaded, and one that does not fit changes nothing and is named."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR

from zae_engine.trainer.checkpoint.loading import PARTS, load
from zae_engine.trainer.checkpoint.trainer_state import trainer_state_dict
from zae_engine.trainer.checkpoint.weights import IncompatibleStateError

FILES = {part: f"{part}.file" for part in (*PARTS, "rest")}


def steps(optimizer):
    return StepLR(optimizer, 2)


def build(make, **kwargs):
    return make(**{"optimizer": torch.optim.Adam, "scheduler": steps, **kwargs})


def states(trainer):
    return {part: copy.deepcopy(getattr(trainer, part).state_dict()) for part in PARTS}


def everything(trainer):
    """Return all that loading could change, as text."""
    state = {key: value for key, value in trainer_state_dict(trainer).items() if key != "random"}
    torch.set_printoptions(precision=9)
    text = repr((states(trainer), state, trainer._zae_state.records.pending_restore))
    torch.set_printoptions(profile="default")
    return text


@pytest.fixture
def trained(make, loader):
    trainer = build(make)
    trainer.run(2, loader)
    return trainer


def test_parts_and_rest_are_loaded(trained, make):
    twin = build(make)
    load(twin, states(trained), trainer_state_dict(trained), FILES)
    for part in PARTS:
        assert repr(states(twin)[part]) == repr(states(trained)[part])
    assert twin.history == trained.history


def test_parts_alone_leave_the_rest(trained, make):
    twin = build(make)
    load(twin, {"model": states(trained)["model"]}, None, FILES)
    assert torch.equal(twin.model.weight, trained.model.weight)
    assert len(twin.history) == 0
    assert twin.optimizer.state == {}


def test_the_callbacks_states_wait_for_the_next_run(trained, make):
    twin = build(make)
    load(twin, {}, {**trainer_state_dict(trained), "checkpoint": {"callbacks": {"a": 1}}}, FILES)
    assert twin._zae_state.records.pending_restore["checkpoint"] == {"callbacks": {"a": 1}}


def other_model(state):
    state["model"] = nn.Linear(10, 5).state_dict()


def no_model(state):
    state["model"] = [1]


def other_groups(state):
    state["optimizer"]["param_groups"] *= 2


def other_optimizer(state):
    model = nn.Linear(10, 2)
    state["optimizer"] = torch.optim.SGD(model.parameters(), lr=1.0).state_dict()


def other_shapes(state):
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(5, 5)


def a_text_as_rate(state):
    state["optimizer"]["param_groups"][0]["lr"] = "fast"


def other_scheduler(state):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    state["scheduler"] = CosineAnnealingLR(optimizer, 5).state_dict()


def a_method_of_the_scheduler(state):
    state["scheduler"]["step"] = 1


def no_list_of_rates(state):
    state["scheduler"]["base_lrs"] = 0.1


def a_text_as_epoch(state):
    state["scheduler"]["last_epoch"] = "two"


def no_last_epoch(state):
    del state["scheduler"]["last_epoch"]


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        *((f, "model") for f in (other_model, no_model)),
        *((f, "optimizer") for f in (other_groups, other_optimizer, other_shapes, a_text_as_rate)),
        *((f, "scheduler") for f in (other_scheduler, a_method_of_the_scheduler, no_list_of_rates)),
        *((f, "scheduler") for f in (a_text_as_epoch, no_last_epoch)),
    ],
)
def test_a_part_that_does_not_fit_changes_nothing(trained, make, loader, damage, part):
    given = states(trained)
    damage(given)
    twin = build(make)
    twin.run(1, loader)
    before = everything(twin)
    with pytest.raises(IncompatibleStateError, match=rf"'{part}\.file' does not fit the trainer's {part} \("):
        load(twin, given, trainer_state_dict(trained), FILES)
    assert everything(twin) == before
    twin.run(1, loader)


@pytest.mark.parametrize(
    "damage",
    [
        lambda rest: rest.update(format=2),
        lambda rest: rest["progress"].update(step=0),
        lambda rest: rest["history"]["epochs"].append("no record"),
        lambda rest: rest.update(results={}),
        lambda rest: rest["feed"].pop("latest"),
        lambda rest: rest["random"][0].update(torch=torch.zeros(3)),
    ],
)
def test_a_rest_that_does_not_fit_changes_nothing(trained, make, loader, damage):
    rest = copy.deepcopy(trainer_state_dict(trained))
    damage(rest)
    twin = build(make)
    twin.run(1, loader)
    before = everything(twin)
    with pytest.raises(
        IncompatibleStateError, match=r"'rest\.file' does not fit the trainer \(.*Nothing has been load"
    ):
        load(twin, states(trained), rest, FILES)
    assert everything(twin) == before


def test_a_state_of_an_older_torch_is_loaded(make):
    trainer = build(make, scheduler=lambda optimizer: MultiStepLR(optimizer, [2, 4]))
    state = {**trainer.scheduler.state_dict(), "verbose": False}
    del state["_step_count"]
    load(trainer, {"scheduler": state}, None, FILES)
