"""Sharded parameters in the optimizers that were made before the sharding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zae_engine.trainer.distributed.sharded_parameters import ParameterReplacement
from zae_engine.trainer.utilities.sharded_tensors import is_sharded


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def shard(model, device_mesh, parts=None):
    from torch.distributed.fsdp import fully_shard

    for part in [*model, model] if parts is None else parts:
        if len(list(part.parameters(recurse=False))) or part is model:
            fully_shard(part, mesh=device_mesh["data_parallel"])


def test_groups_keep_their_settings_and_state_and_the_scheduler_its_optimizer(model, device_mesh):
    optimizer = torch.optim.Adam(
        [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[2].parameters(), "weight_decay": 0.5}], lr=0.1
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    before = {name: dict(optimizer.state[parameter]) for name, parameter in model.named_parameters()}
    replacement = ParameterReplacement(model)
    shard(model, device_mesh)

    replacement.apply(model, [optimizer])

    groups = optimizer.param_groups
    assert [p for group in groups for p in group["params"]] == list(model.parameters())
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.2, 0), (0.1, 0.5)]
    assert set(optimizer.state) == set(model.parameters())
    for name, parameter in model.named_parameters():
        state = optimizer.state[parameter]
        assert is_sharded(state["exp_avg"])
        assert torch.equal(state["exp_avg"].full_tensor(), before[name]["exp_avg"])
        assert state["step"] == 1
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in groups] == [0.1, 0.05]


def test_tied_parameters_stay_tied(device_mesh):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replacement = ParameterReplacement(model)
    shard(model, device_mesh, [model])
    replacement.apply(model, [optimizer])
    assert len(optimizer.param_groups[0]["params"]) == 1
    assert optimizer.param_groups[0]["params"][0] is model[0].weight is model[2].weight


def test_parameters_outside_the_model_and_optimizers_of_the_sharded_ones_stay(model, device_mesh):
    other = nn.Parameter(torch.ones(2))
    before = torch.optim.SGD([other], lr=0.1)
    replacement = ParameterReplacement(model)
    shard(model, device_mesh)
    after = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = list(model.parameters())
    replacement.apply(model, [before, after])
    assert before.param_groups[0]["params"][0] is other
    assert all(a is b for a, b in zip(after.param_groups[0]["params"], expected, strict=True))


def test_a_group_of_whole_and_sharded_parameters_is_updated_one_by_one(model, device_mesh):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    replacement = ParameterReplacement(model)
    shard(model, device_mesh, [model[0]])
    replacement.apply(model, [optimizer])
    assert optimizer.param_groups[0]["foreach"] is False
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()


def test_a_model_that_is_compiled_while_it_is_sharded_has_the_same_names(model, device_mesh):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replacement = ParameterReplacement(model)
    shard(model, device_mesh)
    replacement.apply(torch.compile(model), [optimizer])
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True))


def test_an_optimizer_of_parameters_that_are_gone_is_an_error_that_says_what_to_do(model, device_mesh):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    replacement = ParameterReplacement(model)
    with pytest.raises(ValueError, match=r"'0\.weight' of shape \(3, 4\).*no such parameter.*self\.optimizer = AdamW"):
        replacement.apply(nn.Linear(4, 2), [optimizer])
    with pytest.raises(ValueError, match=r"one of shape \(5, 4\)"):
        replacement.apply(nn.Sequential(nn.Linear(4, 5)), [optimizer])
