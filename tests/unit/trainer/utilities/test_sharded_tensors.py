"""Sharded tensors, on a mesh of one process; tests/integration/distributed/test_sharded.py has several."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from zae_engine.trainer.utilities.sharded_tensors import (
    clip_norm,
    gathered,
    is_sharded,
    is_sharded_module,
    reshard,
    shard_like,
    shard_state,
)


@pytest.fixture
def layer(device_mesh):
    from torch.distributed.fsdp import fully_shard

    return fully_shard(nn.Linear(4, 3), mesh=device_mesh["data_parallel"])


def test_tensors_and_modules_tell_whether_they_are_sharded(layer):
    assert is_sharded(layer.weight)
    assert is_sharded_module(nn.Sequential(layer))
    assert not is_sharded(torch.ones(2))
    assert not is_sharded(3)
    assert not is_sharded_module(nn.Linear(2, 2))
    assert not is_sharded_module(None)


def test_a_module_is_sharded_while_its_parameters_are_whole(layer):
    layer.unshard()
    assert not is_sharded(layer.weight)
    assert is_sharded_module(layer)
    reshard(layer)
    assert is_sharded(layer.weight)
    reshard(nn.Linear(2, 2))  # nothing to do


def test_gathered_values_are_whole_in_containers_of_the_same_types(layer):
    state = layer.state_dict()
    whole = gathered({"model": state, "list": [layer.weight, 3], "pair": (1, layer.bias)})
    assert isinstance(whole["model"], OrderedDict)
    assert whole["model"]._metadata == state._metadata
    assert not any(map(is_sharded, [*whole["model"].values(), whole["list"][0], whole["pair"][1]]))
    assert torch.equal(whole["model"]["weight"], layer.weight.full_tensor())
    assert whole["list"][1] == 3
    assert whole["pair"][0] == 1


def test_a_gathered_tensor_does_not_change_with_the_parameter(layer):
    whole = gathered(layer.bias)
    before = whole.clone()
    with torch.no_grad():
        layer.bias.add_(1.0)
    assert torch.equal(whole, before)


def test_a_process_that_does_not_keep_the_values_has_empty_tensors(layer):
    assert gathered({"bias": layer.bias}, keep=False)["bias"].numel() == 0


def test_values_without_sharded_tensors_are_returned_themselves():
    state = {"weight": torch.ones(2)}
    assert gathered(state) is state
    assert gathered(state, keep=False) is state
    assert shard_state(state, {"weight": torch.zeros(2)}) is state


def test_a_whole_tensor_is_sharded_as_its_target(layer):
    value = torch.randn(3, 4)
    sharded = shard_like(value, layer.weight)
    assert sharded.device_mesh == layer.weight.device_mesh
    assert sharded.placements == layer.weight.placements
    assert torch.equal(sharded.full_tensor(), value)
    assert shard_like(sharded, layer.weight) is sharded
    assert shard_like(value, torch.zeros(3, 4)) is value


def test_a_state_dictionary_is_loaded_into_a_sharded_model(layer):
    state = nn.Linear(4, 3).state_dict()
    sharded = shard_state(state, layer.state_dict())
    assert sharded._metadata == state._metadata
    layer.load_state_dict(sharded)
    assert torch.equal(layer.weight.full_tensor(), state["weight"])


def test_values_of_other_names_and_shapes_stay_for_the_error_of_torch(layer):
    state = {"weight": torch.zeros(9, 9), "other": torch.zeros(1), "bias": torch.zeros(3), "extra": "text"}
    sharded = shard_state(state, layer.state_dict())
    assert [is_sharded(value) for value in sharded.values()] == [False, False, True, False]


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_the_norm_is_that_of_whole_and_of_sharded_gradients_together(layer, max_norm):
    plain, twin = nn.Linear(3, 2), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    twin[0].load_state_dict(gathered(layer.state_dict()))
    twin[1].load_state_dict(plain.state_dict())
    x = torch.randn(5, 4)
    plain(layer(x)).square().sum().backward()
    twin(x).square().sum().backward()

    norm = clip_norm([*layer.parameters(), *plain.parameters()], max_norm)

    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(twin.parameters(), max_norm)))
    found = [gathered(p.grad) for p in (*layer.parameters(), *plain.parameters())]
    assert all(torch.allclose(a, p.grad) for a, p in zip(found, twin.parameters(), strict=True))


def test_without_gradients_the_norm_is_zero():
    assert clip_norm(nn.Linear(2, 2).parameters(), 1.0) == 0.0
