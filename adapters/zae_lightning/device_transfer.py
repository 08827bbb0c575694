"""Device transfer: moving a trainer's model and optimizer state to a device."""

from __future__ import annotations

import torch

from .protocol import TrainerProtocol


def move_to_device(trainer: TrainerProtocol, device: torch.device) -> None:
    """Move the model and the optimizer's state to a device.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    device : torch.device
        The device.
    """
    if isinstance(trainer.model, torch.nn.Module):
        trainer.model.to(device)
    for state in getattr(trainer.optimizer, "state", {}).values():
        for key, value in state.items():
            # Adam keeps its step count, a scalar, on the CPU.
            if isinstance(value, torch.Tensor) and value.dim() > 0:
                state[key] = value.to(device)
