"""Device transfer: the model and the optimizer's state move; scalars of the state stay."""

from __future__ import annotations

import torch
from zae_lightning.device_transfer import move_to_device

META = torch.device("meta")  # a second device that every machine has


def test_model_and_optimizer_state_move(make, loader):
    trainer = make(optimizer=torch.optim.Adam)
    trainer.run(1, loader)
    move_to_device(trainer, META)
    assert {parameter.device for parameter in trainer.model.parameters()} == {META}
    assert {state["exp_avg"].device for state in trainer.optimizer.state.values()} == {META}


def test_the_step_counts_stay_on_the_cpu(make, loader):
    trainer = make(optimizer=torch.optim.Adam)
    trainer.run(1, loader)
    move_to_device(trainer, META)
    assert {state["step"].device.type for state in trainer.optimizer.state.values()} == {"cpu"}


def test_a_model_that_is_no_module_and_no_optimizer_are_left_alone(make):
    trainer = make(optimizer=None)
    trainer.model = len
    move_to_device(trainer, META)
    assert trainer.model is len
