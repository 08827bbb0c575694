"""MultiGPUAddon: what a trainer is once it has the add-on. (Runs: tests/integration/distributed.)"""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon

Distributed = Classifier.add_on(MultiGPUAddon)


def test_the_devices_and_the_address_are_kept(make):
    trainer = make(Distributed, device=["cpu", "cpu"], init_method="tcp://localhost:12355")
    assert trainer.device == [torch.device("cpu")] * 2
    assert trainer.init_method == "tcp://localhost:12355"
    assert trainer.primary_device_index == 0


def test_devices_of_two_kinds_are_refused(make, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="mixes"):
        make(Distributed, device=["cpu", "cuda"])


def test_the_rank_of_a_launcher_is_taken(make, monkeypatch):
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    trainer = make(Distributed, device="cpu")
    assert trainer.device == [torch.device("cpu")] * 2
    assert trainer.primary_device_index == 1
    assert make(Classifier, device="cpu").primary_device_index == 0
