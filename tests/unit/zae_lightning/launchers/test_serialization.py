"""Serialization: objects arrive with their tensors, and the objects that the receiver has are sent by name."""

from __future__ import annotations

import inspect
import json
import threading
from collections import deque

import pytest
import torch
from torch import nn
from torch.optim import swa_utils
from torch.utils.data import DataLoader, TensorDataset
from zae_lightning.launchers.serialization import attributes_of, children_of, deserialize, find_unpicklable, serialize


class Holder:
    """Holds what it is given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Stating(Holder):
    """Says itself what of it can be sent."""

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "lock"}


def test_objects_arrive_as_they_are():
    value = {"list": [1, "two", None], "holder": Holder(x=3), "tensor": torch.arange(3.0)}
    arrived = deserialize(serialize(value))
    assert arrived["list"] == value["list"]
    assert arrived["holder"].x == 3
    assert torch.equal(arrived["tensor"], value["tensor"])


def test_tensors_are_copies_and_one_tensor_stays_one():
    parameter = nn.Parameter(torch.zeros(2))
    first, second = deserialize(serialize([parameter, parameter]))
    assert first is second
    assert isinstance(first, nn.Parameter)
    first.data.fill_(1.0)
    assert torch.equal(parameter, torch.zeros(2))


def test_known_objects_are_sent_by_name():
    lock, model = threading.Lock(), nn.Linear(2, 1)
    data = serialize({"lock": lock, "model": model}, {id(lock): "lock", id(model): "model"})
    arrived = deserialize(data, {"lock": "the lock there", "model": "the model there"})
    assert arrived == {"lock": "the lock there", "model": "the model there"}


def test_a_location_can_be_given_for_the_tensors():
    arrived = deserialize(serialize(torch.ones(2)), map_location="meta")
    assert arrived.device.type == "meta"


def test_an_optimizer_arrives_with_attributes_and_state_but_no_hooks():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter], lr=0.5)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # replaces ``step``
    optimizer.register_step_post_hook(lambda *_: None)
    optimizer.own = "mine"
    parameter.sum().backward()
    optimizer.step()
    arrived, of_it = deserialize(serialize((optimizer, parameter)))
    assert arrived.own == "mine"
    assert arrived.param_groups[0]["lr"] == 0.5
    assert arrived.param_groups[0]["params"][0] is of_it
    assert float(arrived.state[of_it]["step"]) == 1
    assert "step" not in vars(arrived)


def test_a_loader_arrives_without_its_iteration():
    loader = DataLoader(TensorDataset(torch.arange(4)), 2, num_workers=1, persistent_workers=True)
    next(iter(loader))
    arrived = deserialize(serialize(loader))
    assert arrived._iterator is None
    assert len(arrived.dataset) == 4
    assert loader._iterator is not None
    loader._iterator = None  # ends the worker


def test_attributes_are_what_the_object_says():
    assert attributes_of(Holder(x=1)) == {"x": 1}
    assert attributes_of(Stating(x=1, lock=threading.Lock())) == {"x": 1}


def test_attributes_of_an_object_that_refuses_to_be_sent():
    class Refusing(Holder):
        def __getstate__(self):
            raise TypeError

    assert attributes_of(Refusing(x=1)) == {"x": 1}


@pytest.mark.parametrize(
    ("value", "children"),
    [
        ({"a": 1, 2: 3}, [("['a']", 1), ("[2]", 3)]),
        ([4, 5], [("[0]", 4), ("[1]", 5)]),
        (deque([6]), [("[0]", 6)]),
        (Holder(x=7), [(".x", 7)]),
        (Stating(x=8, lock=None), [(".x", 8)]),
        ("text", []),
        (len, []),
        (Holder, []),
        (json, []),
        (Holder.__init__, []),
        (Holder(x=1).__init__, []),
    ],
)
def test_children_with_their_paths(value, children):
    assert children_of(value) == children


def test_children_of_a_module_are_its_submodules_first():
    model = nn.Sequential(nn.Linear(2, 1))
    assert children_of(model)[0] == (".0", model[0])
    assert ".training" in dict(children_of(model))


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (lambda bad: bad, "x"),
        (lambda bad: {"a": [1, Holder(inner=(bad,))]}, "x['a'][1].inner[0]"),
        (lambda bad: DataLoader(TensorDataset(torch.zeros(1)), collate_fn=bad), "x.collate_fn"),
        (lambda bad: Holder(queue=deque([0, bad])), "x.queue[1]"),
    ],
)
def test_the_innermost_object_that_cannot_be_sent_is_found(build, path):
    bad = lambda: None  # noqa: E731
    assert find_unpicklable(build(bad), "x") == (path, bad)


def test_an_attribute_of_a_layer_is_found_by_the_name_of_the_layer():
    model = nn.Sequential(nn.Linear(2, 1))
    model[0].lock = threading.Lock()
    assert find_unpicklable(model, "model") == ("model.0.lock", model[0].lock)


def test_known_objects_are_not_blamed():
    lock, other = threading.Lock(), threading.Lock()
    assert find_unpicklable([lock, other], "x", {id(lock): "lock"}) == ("x[1]", other)


def test_the_search_ends_at_its_depth():
    inner = [threading.Lock()]
    assert find_unpicklable([[inner]], "x", depth=2) == ("x[0][0]", inner)


@pytest.mark.parametrize("make_function", [swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn])
def test_averaging_functions_of_torch_are_sent(make_function):
    function = deserialize(serialize(make_function(0.25)))
    assert inspect.unwrap(function).__closure__[0].cell_contents == 0.25
