"""Trainer state: what a copy and a pickle of it contain."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import torch

from zae_engine.trainer._state import TrainerState
from zae_engine.trainer.distributed.world import World


def used() -> TrainerState:
    state = TrainerState()
    state.config.trainer_kwargs["accumulate_grad_batches"] = 2
    state.records.history.add({"epoch": 1})
    state.records.warned_one_device = state.records.is_synchronised = True
    state.process.world = World(0, 2, 0, 2)
    state.run.depth, state.run.mid_epoch_state = 1, lambda: None
    state.batch.update_lr, state.batch.backward = 0.5, lambda loss: None
    return state


def test_settings_and_records_travel_and_the_rest_starts_afresh():
    for copied in (pickle.loads(pickle.dumps(used())), copy.deepcopy(used())):
        assert copied.config.trainer_kwargs == {"accumulate_grad_batches": 2}
        assert [dict(record) for record in copied.records.history] == [{"epoch": 1}]
        assert copied.records.warned_one_device
        assert copied.records.is_synchronised
        assert copied.process.world is None
        assert copied.run.depth == 0
        assert copied.run.mid_epoch_state is None
        assert copied.batch.update_lr is None
        assert copied.batch.backward is None


def test_two_states_share_nothing():
    first, second = used(), TrainerState()
    assert second.config.trainer_kwargs == {}
    assert len(second.records.history) == 0
    assert first.process.interrupts is not second.process.interrupts


def test_random_states_return():
    saved = TrainerState.random_state()
    drawn = random.random(), np.random.rand(), torch.rand(1)
    TrainerState.set_random_state(saved)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
