"""Curves of the schedulers, step by step, and saving a chain. (The parity suite compares them in training.)"""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import nn

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerBase, SchedulerChain, WarmUpScheduler


@pytest.fixture
def optimizer():
    model = nn.Linear(1, 1)
    return torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}], lr=1.0)


def curve(optimizer, scheduler, n):
    rates = []
    for _ in range(n):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def test_warm_up_is_a_line_to_the_rate_of_each_group(optimizer):
    rates = curve(optimizer, WarmUpScheduler(optimizer, 4, eta_min=0.2), 4)
    assert [a for a, _ in rates] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert [b for _, b in rates] == pytest.approx([0.275, 0.35, 0.425, 0.5])


def test_cosine_is_half_a_wave_down_to_eta_min(optimizer):
    rates = curve(optimizer, CosineAnnealingScheduler(optimizer, 4, eta_min=0.2), 4)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(1, 5)]
    assert [a for a, _ in rates] == pytest.approx(expected)
    assert rates[-1] == pytest.approx([0.2, 0.2])


def test_chain_hands_over_and_tells_the_latest_rate(optimizer):
    chain = SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 5))
    assert (chain.total_iters, chain.next_iters) == (8, [3])
    in_charge = []
    for _ in range(8):
        in_charge.append(chain.i_scheduler)
        assert chain.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        chain.step()
    assert in_charge == [0, 0, 0, 1, 1, 1, 1, 1]


def test_chain_warns_of_nothing_when_built(optimizer, recwarn):
    SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 5))
    assert not recwarn.list


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_chain_refuses_two_optimizers_and_none(optimizer, kind):
    other = torch.optim.Adam(nn.Linear(1, 1).parameters())
    with pytest.raises(kind, match=r"one optimizer, but 2 were found: \['SGD', 'Adam'\]"):
        SchedulerChain(WarmUpScheduler(optimizer, 3), WarmUpScheduler(other, 3))
    with pytest.raises(kind, match="got no scheduler"):
        SchedulerChain()


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_chain_goes_on_from_a_saved_state(steps):
    def build():
        optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
        return optimizer, SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 5))

    optimizer, chain = build()
    curve(optimizer, chain, steps)
    states = pickle.loads(pickle.dumps((optimizer.state_dict(), chain.state_dict())))
    other_optimizer, other = build()
    other_optimizer.load_state_dict(states[0])
    other.load_state_dict(states[1])
    assert curve(other_optimizer, other, 8 - steps) == curve(optimizer, chain, 8 - steps)


def test_chain_loads_the_state_that_0_7_6_wrote(optimizer):
    chain = SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 5))
    curve(optimizer, chain, 4)
    upstreams = {key: value for key, value in chain.__dict__.items() if key != "optimizer"}  # whole schedulers inside
    other = SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 5))
    other.load_state_dict(upstreams)
    assert other.schedulers[1]._step_count == chain.schedulers[1]._step_count
    assert other.i_scheduler == 1
    with pytest.raises(ValueError, match="chain of 2 schedulers, but this chain has 1"):
        SchedulerChain(WarmUpScheduler(optimizer, 3)).load_state_dict(upstreams)


def test_base_is_abstract(optimizer):
    with pytest.raises(TypeError, match="get_lr"):
        SchedulerBase(optimizer, 3, 0.0)
