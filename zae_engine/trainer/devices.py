"""Which devices a trainer runs on, and moving things there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

DeviceLike: TypeAlias = str | torch.device

_ACCEPTED = 'Accepted are "cpu", "cuda", "cuda:1", "mps", a torch.device, or a list of these.'


def parse(device: DeviceLike | Sequence[DeviceLike]) -> list[torch.device]:
    """Return the devices as a list, checked to be there.

    Parameters
    ----------
    device : str, torch.device, or a sequence of these
        What the user gave.

    Returns
    -------
    list of torch.device
        At least one.

    Raises
    ------
    TypeError
        If it is none of the accepted types.
    ValueError
        If the list is empty, a name is no device, or the device is not there on this machine.
    """
    if isinstance(device, (list, tuple)):
        if not device:
            raise ValueError(f"device is an empty {type(device).__name__}, but at least one is needed. {_ACCEPTED}")
        return [_one(entry) for entry in device]
    return [_one(device)]


def _one(device: Any) -> torch.device:
    if isinstance(device, str):
        try:
            device = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device={device!r} is no device that torch knows. {_ACCEPTED}") from error
    if not isinstance(device, torch.device):
        raise TypeError(f"device={device!r} is of type {type(device).__name__}. {_ACCEPTED}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"only {count} CUDA device(s) are there" if count else "CUDA is not available here"
            raise ValueError(f'device="{device}" was asked for, but {there}. Give another one, "cpu" for instance.')
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError('device="mps" was asked for, but MPS is not available here. Use "cpu".')
    elif device.type != "cpu":
        raise ValueError(f'device="{device}" is of a kind that the trainer does not run on. {_ACCEPTED}')
    return device


def move(value: Any, device: torch.device) -> Any:
    """Return ``value`` on ``device``: itself if it has ``.to``, or a container whose tensors have moved.

    Parameters
    ----------
    value : Any
        A tensor, a module, anything with a ``to`` method, or nested lists, tuples, mappings and dataclasses of these.
        Everything else is returned as it is.
    device : torch.device
        Where to.

    Returns
    -------
    Any
        The same kind of thing. On the CPU, containers are returned untouched, the very object.
    """
    if hasattr(type(value), "to"):
        return value.to(device)
    if device.type == "cpu" or isinstance(value, (str, bytes)):
        return value
    from lightning_utilities.core.apply_func import apply_to_collection

    return apply_to_collection(value, torch.Tensor, lambda tensor: tensor.to(device))
