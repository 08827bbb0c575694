"""Which devices a trainer runs on, and moving things there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

DeviceLike: TypeAlias = str | torch.device

_ACCEPTED = 'Accepted are "cpu", "cuda", "cuda:1", "mps", a torch.device, or a list of these.'


def parse_devices(device: DeviceLike | Sequence[DeviceLike]) -> list[torch.device]:
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


def local_rank_devices(given: list[torch.device], count: int, launcher: str) -> list[torch.device]:
    """Return the device of each process that a launcher has started on this node.

    Parameters
    ----------
    given : list of torch.device
        What the user gave: one device for each process, or one that stands for all of its kind.
    count : int
        The number of processes on this node.
    launcher : str
        Who started them, for the message.

    Returns
    -------
    list of torch.device
        One a process.

    Raises
    ------
    ValueError
        If there are neither one nor ``count`` of them, or one is there twice.
    """
    if len(given) == 1:
        kind = given[0].type
        given = [torch.device(kind, index) if kind == "cuda" else given[0] for index in range(count)]
    if len(given) != count:
        raise ValueError(
            f"device is a list of {len(given)}, but {launcher} has started {count} processes on this node. Give one "
            f'device for each, or one for all of a kind: device="{given[0].type}".'
        )
    return check_one_per_process([_one(device) for device in given])


def check_one_per_process(given: list[torch.device]) -> list[torch.device]:
    """Return devices, checked that each can have a process of its own; `ValueError` if not.

    Parameters
    ----------
    given : list of torch.device
        The devices.

    Returns
    -------
    list of torch.device
        The same, a "cuda" without index being the first GPU.
    """
    kinds = {device.type for device in given}
    if len(kinds) > 1:
        raise ValueError(f"device mixes {sorted(kinds)}; all processes need the same kind of device.")
    if kinds == {"mps"} and len(given) > 1:
        raise ValueError('There is one MPS device, so several processes cannot have one each. Give device="mps".')
    if kinds == {"cuda"}:
        given = [torch.device("cuda", device.index or 0) for device in given]
        twice = sorted({str(device) for device in given if given.count(device) > 1})
        if twice:
            raise ValueError(f"device has {', '.join(twice)} more than once, but each process needs a GPU of its own.")
    return given


def _one(device: Any) -> torch.device:
    if isinstance(device, str):
        try:
            device = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device={device!r} is no device that torch knows. {_ACCEPTED}") from error
    if not isinstance(device, torch.device):
        raise TypeError(f"device={device!r} is of type {type(device).__name__}. {_ACCEPTED}")
    if device.type == "cuda":
        count = torch.cuda.device_count()  # asks the driver without starting CUDA, which no fork would survive
        if (device.index or 0) >= count:
            there = f"only {count} CUDA device(s) are there" if count else "CUDA is not available here"
            raise ValueError(f'device="{device}" was asked for, but {there}. Give another one, "cpu" for instance.')
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError('device="mps" was asked for, but MPS is not available here. Use "cpu".')
    elif device.type != "cpu":
        raise ValueError(f'device="{device}" is of a kind that the trainer does not run on. {_ACCEPTED}')
    return device


def move_to_device(value: Any, device: torch.device) -> Any:
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
