"""Choosing Lightning's accelerator for a trainer's device."""

from __future__ import annotations

from typing import Any

import torch


def accelerator_arguments(device: torch.device) -> dict[str, Any]:
    """Return the ``accelerator`` and ``devices`` arguments of ``L.Trainer`` for one device.

    Parameters
    ----------
    device : torch.device
        "cpu", "cuda", "cuda:<i>" or "mps". A "cuda" without index means the current CUDA device.

    Returns
    -------
    dict
        ``{"accelerator": ..., "devices": ...}``.
    """
    if device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        return {"accelerator": "cuda", "devices": [index]}
    return {"accelerator": device.type, "devices": 1}
