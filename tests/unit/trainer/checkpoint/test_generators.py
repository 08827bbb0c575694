"""Generators: the random generators of loaders repeat their draws from a saved state."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from zae_engine.trainer.checkpoint.generators import generator_states, set_generator_states

DATASET = TensorDataset(torch.arange(32))


def generator():
    return torch.Generator().manual_seed(5)


def of_the_loader():
    return DataLoader(DATASET, 4, shuffle=True, generator=generator())


def of_the_sampler():
    return DataLoader(DATASET, 4, sampler=RandomSampler(DATASET, generator=generator()))


def of_the_batch_sampler():
    return DataLoader(DATASET, batch_sampler=BatchSampler(RandomSampler(DATASET, generator=generator()), 4, False))


def order(loader):
    return torch.cat([batch for (batch,) in loader]).tolist()


@pytest.mark.parametrize("build", [of_the_loader, of_the_sampler, of_the_batch_sampler])
def test_a_loader_repeats_its_order(build):
    loader, other = build(), build()
    order(loader)
    states = generator_states(loader, None)
    expected = order(loader)
    assert order(other) != expected
    set_generator_states(states, other, None)
    assert order(other) == expected


def test_the_names_say_loader_and_place():
    assert generator_states(of_the_sampler(), of_the_batch_sampler()).keys() == {
        "loader.sampler.generator",
        "loader.batch_sampler.sampler.generator",
        "valid_loader.batch_sampler.sampler.generator",
    }


def test_loaders_without_generators_have_no_states():
    assert generator_states(None, None) == {}
    assert generator_states([1, 2], DataLoader(DATASET, 4, shuffle=True)) == {}


def test_a_state_without_its_generator_is_ignored():
    states = generator_states(of_the_loader(), of_the_loader())
    set_generator_states(states, [1, 2], None)
    loader = of_the_loader()
    expected = order(of_the_loader())
    set_generator_states({"loader.elsewhere": torch.zeros(1)}, loader, None)
    assert order(loader) == expected
