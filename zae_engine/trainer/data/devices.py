"""Devices: check the devices of a trainer, and move batches to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

DeviceLike: TypeAlias = str | torch.device

_ACCEPTED = 'Accepted are "cpu", "cuda", "cuda:1", "mps", a torch.device, or a list of these.'


def parse_devices(device: DeviceLike | Sequence[DeviceLike]) -> list[torch.device]:
    """Return the devices as a list, after checking that this machine has them.

    Parameters
    ----------
    device : str, torch.device, or a sequence of these
        The user's argument.

    Returns
    -------
    list of torch.device
        One device or more.

    Raises
    ------
    TypeError
        If ``device`` has none of the accepted types.
    ValueError
        If the list is empty, a name is not a device, or this machine does not have the device.
    """
    if isinstance(device, (list, tuple)):
        if not device:
            raise ValueError(f"device is an empty {type(device).__name__}, but at least one is needed. {_ACCEPTED}")
        return [_parse_device(entry) for entry in device]
    return [_parse_device(device)]


def local_rank_devices(given: list[torch.device], count: int, launcher: str) -> list[torch.device]:
    """Return the device of each process that a launcher has started on this node.

    Parameters
    ----------
    given : list of torch.device
        The user's devices: one for each process, or a single one for all devices of its type.
    count : int
        The number of processes on this node.
    launcher : str
        The name of the launcher, for the error message.

    Returns
    -------
    list of torch.device
        One device for each process.

    Raises
    ------
    ValueError
        If there are neither one nor ``count`` devices, or a device occurs twice.
    """
    if len(given) == 1:
        kind = given[0].type
        given = [torch.device(kind, index) if kind == "cuda" else given[0] for index in range(count)]
    if len(given) != count:
        raise ValueError(
            f"device is a list of {len(given)}, but {launcher} has started {count} processes on this node. Give one "
            f'device for each, or one for all of a kind: device="{given[0].type}".'
        )
    return check_one_per_process([_parse_device(device) for device in given])


def check_one_per_process(given: list[torch.device]) -> list[torch.device]:
    """Return the devices; raise `ValueError` unless each of them can have its own process.

    Parameters
    ----------
    given : list of torch.device
        The devices.

    Returns
    -------
    list of torch.device
        The same devices; a "cuda" without an index becomes the first GPU.
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


def _parse_device(device: Any) -> torch.device:
    if isinstance(device, str):
        try:
            device = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device={device!r} is no device of torch. {_ACCEPTED}") from error
    if not isinstance(device, torch.device):
        raise TypeError(f"device={device!r} is of type {type(device).__name__}. {_ACCEPTED}")
    if device.type == "cuda":
        count = torch.cuda.device_count()  # does not initialize CUDA, which a forked process could not use afterwards
        if (device.index or 0) >= count:
            reason = f"this machine has only {count} CUDA device(s)" if count else "CUDA is not available here"
            raise ValueError(f'device="{device}" was given, but {reason}. Give another device, "cpu" for instance.')
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError('device="mps" was given, but MPS is not available here. Use "cpu".')
    elif device.type != "cpu":
        raise ValueError(f'device="{device}" has a type that the trainer does not support. {_ACCEPTED}')
    return device


def move_to_device(value: Any, device: torch.device) -> Any:
    """Return a value, or a container of values, on a device.

    Parameters
    ----------
    value : Any
        A tensor, a module, an object with a ``to`` method, or nested lists, tuples, mappings and dataclasses of
        tensors. Other values are returned unchanged.
    device : torch.device
        The target device.

    Returns
    -------
    Any
        The result of ``value.to(device)``, or a container of the same type. If the device is the CPU, a container is
        returned as the same object.
    """
    if hasattr(type(value), "to"):
        return value.to(device)
    if device.type == "cpu" or isinstance(value, (str, bytes)):
        return value
    return map_tensors(value, lambda tensor: tensor.to(device))


def move_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> Any:
    """Return positional arguments, or else keywords, on a device: one value, a tuple, a dict, or None for nothing."""
    if args:
        moved = tuple([move_to_device(value, device) for value in args])
        return moved[0] if len(moved) == 1 else moved
    return {key: move_to_device(value, device) for key, value in kwargs.items()} if kwargs else None


def map_tensors(value: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """Return a value with ``function(tensor)`` in place of each tensor, also in nested containers and dataclasses."""
    from lightning_utilities.core.apply_func import apply_to_collection

    return apply_to_collection(value, torch.Tensor, function)
