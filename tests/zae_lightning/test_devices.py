"""Choosing the accelerator, which needs none to be there."""

from __future__ import annotations

import pytest
import torch
from zae_lightning.devices import accelerator_arguments


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", {"accelerator": "cpu", "devices": 1}),
        ("mps", {"accelerator": "mps", "devices": 1}),
        ("cuda:0", {"accelerator": "cuda", "devices": [0]}),
        ("cuda:3", {"accelerator": "cuda", "devices": [3]}),
    ],
)
def test_accelerator_and_device_number(device, expected):
    assert accelerator_arguments(torch.device(device)) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_training_on_cuda_leaves_everything_there(make, loader, valid_loader):
    trainer = make(device="cuda", optimizer=torch.optim.Adam)
    trainer.run(2, loader, valid_loader)
    assert next(trainer.model.parameters()).is_cuda
    assert all(state["exp_avg"].is_cuda for state in trainer.optimizer.state.values())
    trainer.run(1, loader)
    assert all(not value.is_cuda for value in trainer.log_train["loss"])
