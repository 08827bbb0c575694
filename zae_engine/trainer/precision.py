"""Precision: the autocast context and the gradient scaler of a trainer, which Lightning's plugin shares."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Autocast:
    """One precision on one device.

    Parameters
    ----------
    name : {"fp32", "fp16", "bf16"}
        The precision.
    device : torch.device
        The device.

    Attributes
    ----------
    scaler : torch.amp.GradScaler or None
        Scales the loss; for float16 only. Lightning's plugin uses the same one, so that its state persists over runs.
    """

    def __init__(self, name: str = "fp32", device: torch.device | None = None) -> None:
        self.name = name
        self.device_type = device.type if device is not None else "cpu"
        self.scaler = torch.amp.GradScaler(self.device_type) if name == "fp16" else None

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context for a forward pass."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device_type, dtype=DTYPES[self.name])
