"""Precision: the context of forward passes and the scaler."""

from __future__ import annotations

import torch

from zae_engine.trainer.precision import Autocast


def dtype_of_a_product(autocast: Autocast) -> torch.dtype:
    layer = torch.nn.Linear(2, 2)
    with autocast.forward():
        return layer(torch.ones(1, 2)).dtype


def test_full_precision_changes_nothing():
    assert dtype_of_a_product(Autocast()) is torch.float32
    assert Autocast().scaler is None


def test_bfloat16_computes_in_bfloat16_without_a_scaler():
    autocast = Autocast("bf16", torch.device("cpu"))
    assert dtype_of_a_product(autocast) is torch.bfloat16
    assert autocast.scaler is None


def test_float16_has_a_scaler_of_its_device():
    assert isinstance(Autocast("fp16", torch.device("cpu")).scaler, torch.amp.GradScaler)
