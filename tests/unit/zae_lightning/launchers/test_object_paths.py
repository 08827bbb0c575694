"""Object paths: the same trainer has the same paths everywhere, and states are loaded in place."""

from __future__ import annotations

import copy
import pickle
from collections import deque

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zae_lightning.launchers.object_paths import (
    PROCESS_LOCAL,
    extra_attributes,
    load_object_state,
    named_objects,
    object_state,
    transferable_callbacks,
)

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon


class Plain:
    """An object without a state_dict."""

    def __init__(self):
        self.layer, self.count = nn.Linear(2, 1), 0


def test_the_paths_lead_to_the_objects_of_a_trainer(make, loader):
    model = nn.Sequential(nn.Linear(10, 2), nn.BatchNorm1d(2))
    trainer = make(model=model, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1))
    trainer.helpers = {"plain": Plain(), "queue": deque([nn.Linear(1, 1)])}
    trainer.critic = model[0]
    found = named_objects(trainer, (loader, None))
    assert found["trainer"] is trainer
    assert found["model/0.weight"] is model[0].weight
    assert found["model/1.running_mean"] is model[1].running_mean
    assert found["optimizer"] is trainer.optimizer
    assert found["scheduler"] is trainer.scheduler
    assert found["helpers['plain']"] is trainer.helpers["plain"]
    assert found["helpers['plain'].layer/.weight"] is trainer.helpers["plain"].layer.weight
    assert found["helpers['queue'][0]/"] is trainer.helpers["queue"][0]
    assert found["loaders[0]"] is loader
    assert found["loaders[0].sampler"] is loader.sampler
    assert "critic/" not in found  # the same object has one path


def test_a_copy_in_another_process_has_the_same_paths(make, loader):
    trainer = make(Classifier, optimizer=torch.optim.Adam, callbacks=Callback())
    trainer.helper = Plain()
    trainer.run(1, loader)
    twin, its_loader = pickle.loads(pickle.dumps((trainer, loader)))
    assert list(named_objects(twin, (its_loader,))) == list(named_objects(trainer, (loader,)))


def test_objects_of_a_process_have_no_path(make, loader):
    trainer = make()
    trainer.run(1, loader)
    paths = named_objects(trainer, ())
    assert not [path for path in paths if path.split("[")[0].split("/")[0] in PROCESS_LOCAL - {"callbacks"}]


def test_the_callback_that_is_bound_to_its_trainer_is_not_transferred(make, loader, tmp_path):
    trainer = make(Classifier.add_on(StateManagerAddon), save_path=str(tmp_path), callbacks=Callback())
    trainer.run(1, loader)
    assert len(trainer.callbacks) == 2
    assert [type(callback) for callback in transferable_callbacks(trainer)] == [Callback]
    trainer.callbacks = "replaced by the user"
    assert transferable_callbacks(trainer) == []


def trained_optimizer():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    return parameter, optimizer


def transferred(changed, target):
    """Load the state of a changed object into another one, through a copy as another process has it."""
    load_object_state(target, copy.deepcopy(object_state(changed)))
    return target


def test_tensors_are_written_in_place():
    target = torch.zeros(2)
    view = target[:]
    transferred(torch.ones(2), target)
    assert torch.equal(view, torch.ones(2))


def test_a_tensor_takes_another_shape():
    assert transferred(nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(2))).shape == (3,)


def test_lazy_parameters_are_materialized():
    changed, target = nn.LazyLinear(2), nn.LazyLinear(2)
    weight = target.weight
    changed(torch.ones(1, 3))
    transferred(changed, target)
    assert target.weight is weight
    assert torch.equal(target.weight, changed.weight)


def test_modules_keep_their_parameters_and_take_structure_and_requires_grad():
    changed, target = nn.Linear(2, 1), nn.Linear(2, 1)
    weight = target.weight
    changed.weight.requires_grad_(False)
    changed.register_buffer("extra", torch.ones(1))
    del changed.bias
    transferred(changed, target)
    assert target.weight is weight
    assert torch.equal(weight, changed.weight)
    assert not weight.requires_grad
    assert torch.equal(target.extra, torch.ones(1))
    assert "bias" not in target._parameters


def test_an_optimizer_takes_state_and_groups():
    parameter, optimizer = trained_optimizer()
    parameter.sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    other_parameter, target = trained_optimizer()
    group = target.param_groups[0]
    kind, (state, groups) = object_state(optimizer)
    replaced = {other_parameter: state[parameter]}, [{**groups[0], "params": [other_parameter]}]
    load_object_state(target, (kind, replaced))
    assert target.param_groups[0] is group
    assert group["lr"] == 0.5
    assert float(target.state[other_parameter]["step"]) == 1


def test_generators_continue():
    changed, target = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    torch.rand(3, generator=changed)
    transferred(changed, target)
    assert torch.equal(torch.rand(2, generator=changed), torch.rand(2, generator=target))


def test_objects_with_a_state_dict_load_it():
    _, optimizer = trained_optimizer()
    changed = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    target = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    changed.last_epoch = 7
    assert transferred(changed, target).last_epoch == 7


@pytest.mark.parametrize("value", [Plain(), Callback(), "text", 3, TensorDataset(torch.zeros(1))])
def test_other_objects_have_no_state(value):
    assert object_state(value) is None


def test_extra_attributes_are_those_beside_the_state():
    module, (_, optimizer) = nn.Linear(2, 1), trained_optimizer()
    module.temperature, optimizer.own = 3.0, "mine"
    assert extra_attributes(module) == {"in_features": 2, "out_features": 1, "temperature": 3.0, "training": True}
    assert extra_attributes(optimizer).keys() >= {"own"}
    assert not extra_attributes(optimizer).keys() & {"state", "param_groups", "step"}
    assert extra_attributes(Plain()).keys() == {"layer", "count"}
    assert extra_attributes(torch.zeros(1)) == extra_attributes(len) == {}
    assert extra_attributes(torch.optim.lr_scheduler.StepLR(optimizer, 2)) == {}


def test_a_loader_among_the_attributes_is_named_with_its_dataset(make, dataset):
    trainer = make()
    trainer.own_loader = DataLoader(dataset, 2)
    found = named_objects(trainer, ())
    assert found["own_loader"] is trainer.own_loader
    assert found["own_loader.dataset"] is dataset
