"""Moving a trainer's model and optimizer state."""

from __future__ import annotations

from typing import Any

import torch


def move_to_device(trainer: Any, device: torch.device) -> None:
    """Move the model and the optimizer's state to a device.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    device : torch.device
        Where to.
    """
    if isinstance(trainer.model, torch.nn.Module):
        trainer.model.to(device)
    for state in getattr(trainer.optimizer, "state", {}).values():
        for key, value in state.items():
            # Adam keeps its step count on the CPU: only what lives beside the parameters moves.
            if isinstance(value, torch.Tensor) and value.dim() > 0:
                state[key] = value.to(device)
