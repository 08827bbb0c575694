"""RNG: the states of all generators can be read, set and set from a file."""

from __future__ import annotations

import random

import numpy as np
import torch

from zae_engine.trainer.checkpoint.encoding import decode, encode
from zae_engine.trainer.utilities.rng import random_state, set_random_state


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_numbers_repeat_from_a_state():
    state = random_state()
    drawn = draw()
    assert draw() != drawn
    set_random_state(state)
    assert draw() == drawn


def test_numbers_repeat_from_a_state_that_a_file_has_held():
    state = decode(encode(random_state()))
    drawn = draw()
    set_random_state(state)
    assert draw() == drawn


def test_reading_a_state_draws_nothing():
    state = random_state()
    random_state(with_cuda=True)
    first = draw()
    set_random_state(state)
    assert draw() == first


def test_the_states_of_gpus_are_read_only_where_cuda_is_in_use():
    assert random_state().keys() == {"python", "numpy", "torch"}
    assert ("cuda" in random_state(with_cuda=True)) == torch.cuda.is_initialized()


def test_states_of_gpus_that_this_machine_lacks_are_ignored():
    state = {**random_state(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * 9}
    if torch.cuda.device_count():
        state["cuda"] = []
    set_random_state(state)
    assert torch.equal(torch.get_rng_state(), state["torch"])
