"""Formats: writing and reading the files of a saved state."""

from __future__ import annotations

import os
import pickle
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import safetensors.torch
import torch

from ...utilities.atomic_io import atomic_write, unreadable
from .restricted_unpickler import load_plain_pickle

FORMATS = ("ckpt", "safetensor")


def write_model(filename: str | os.PathLike[str], state: dict[str, Any], save_format: str) -> None:
    """Write a model's state dictionary, its tensors on the CPU.

    Parameters
    ----------
    filename : path
        The file.
    state : dict
        ``model.state_dict()``.
    save_format : {"ckpt", "safetensor"}
        `torch.save`, or safetensors. The latter holds tensors only, each by itself, also where two share memory.
    """
    on_cpu = _to_cpu(state)
    if save_format == "ckpt":
        atomic_write(filename, lambda file: torch.save(on_cpu, file))
    else:
        odd = {key: type(value).__name__ for key, value in on_cpu.items() if not isinstance(value, torch.Tensor)}
        if odd:
            raise TypeError(
                f'save_format="safetensor" holds tensors only, but the model\'s state has {odd}. Use "ckpt".'
            )
        tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in on_cpu.items()}
        data = safetensors.torch.save(tensors)
        atomic_write(filename, lambda file: file.write(data))


def write_zae(filename: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the state of an optimizer or scheduler as a pickle, which zae-engine 0.7.6 reads too."""
    data = pickle.dumps(_to_cpu(state))
    atomic_write(filename, lambda file: file.write(data))


def read_zae(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that `write_zae` or zae-engine 0.7.6 wrote, tensors onto the CPU.

    Only tensors, containers and plain values are read. Whole scheduler and optimizer objects, which 0.7.6 writes for a
    `SchedulerChain`, come out as the dictionaries of their attributes.

    Parameters
    ----------
    filename : path
        The file.

    Returns
    -------
    dict
        The state.

    Raises
    ------
    ValueError
        If the file is no such pickle, or asks for anything else.
    """
    with open(filename, "rb") as file:
        data = file.read()
    try:
        state = load_plain_pickle(data)
    except Exception as error:
        raise ValueError(unreadable(filename, "no saved state", error)) from error
    if not isinstance(state, dict):
        raise ValueError(unreadable(filename, "no saved state", TypeError(f"it holds a {type(state).__name__}")))
    return state


def _to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _to_cpu(part) for key, part in value.items()}
    if isinstance(value, (OrderedDict, Counter)):
        moved = value.copy()  # with the versions that state_dict() attaches
        for key, part in value.items():
            moved[key] = _to_cpu(part)
        return moved
    if type(value) in (list, tuple):
        return type(value)([_to_cpu(part) for part in value])
    return value
