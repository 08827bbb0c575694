"""Formats: write and read the files of a saved state."""

from __future__ import annotations

import copy
import os
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors.torch
import torch

from ...utilities.atomic_io import atomic_write, unreadable
from .integrity import DamagedFileError, verify_seal, write_sealed
from .restricted_unpickler import load_plain_pickle, pickle_size

FORMATS = ("ckpt", "safetensor")


def write_model(filename: str | os.PathLike[str] | BinaryIO, state: dict[str, Any], save_format: str) -> None:
    """Write a model's state dictionary, with its tensors on the CPU.

    Parameters
    ----------
    filename : path or binary file
        The file.
    state : dict
        ``model.state_dict()``.
    save_format : {"ckpt", "safetensor"}
        The format: that of `torch.save`, or safetensors. The latter contains only tensors; tensors that share memory
        are written separately.

    Raises
    ------
    TypeError
        If the state contains other values than tensors, and the format is safetensors.
    """
    on_cpu = _to_cpu(state)
    check_model(on_cpu, save_format)
    if save_format == "ckpt":
        _write(filename, lambda file: torch.save(on_cpu, file))
    else:
        tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in on_cpu.items()}
        data = safetensors.torch.save(tensors)
        _write(filename, lambda file: file.write(data))


def check_model(state: Mapping[str, Any], save_format: str) -> None:
    """Raise a TypeError if the format cannot hold a model's state dictionary; see `write_model`."""
    others = {key: type(value).__name__ for key, value in state.items() if not isinstance(value, torch.Tensor)}
    if others and save_format != "ckpt":
        raise TypeError(
            f'save_format="safetensor" holds tensors only, but the model\'s state has {others}. Use "ckpt".'
        )


def fixed_copy(state: Any) -> Any:
    """Return a copy of a state dictionary with its tensors on the CPU, which further training does not change.

    Tensors that share memory share it in the copy too.
    """
    return copy.deepcopy(_to_cpu(state))


def _write(filename: str | os.PathLike[str] | BinaryIO, write: Callable[[Any], Any]) -> None:
    if isinstance(filename, (str, os.PathLike)):
        atomic_write(filename, write)
    else:
        write(filename)


def write_zae(filename: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the state of an optimizer or scheduler as a pickle that 0.7.6 can read, with a seal at its end."""
    on_cpu = _to_cpu(state)
    atomic_write(filename, lambda file: write_sealed(file, lambda sealed: pickle.dump(on_cpu, sealed)))


def read_zae(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that `write_zae` or zae-engine 0.7.6 wrote, with its tensors on the CPU.

    The function reads only tensors, containers and plain values. 0.7.6 writes scheduler and optimizer objects for a
    `SchedulerChain`; they are returned as dictionaries of their attributes.

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
        If the file is not such a pickle, or refers to another class or function.
    """
    try:
        is_sealed = verify_seal(filename)
        with open(filename, "rb") as file:
            data = file.read()
        if not is_sealed and pickle_size(data) != len(data):
            raise DamagedFileError("it is damaged: it does not end where its content ends")
        state = load_plain_pickle(data)
    except OSError:
        raise
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
        return {key: _to_cpu(element) for key, element in value.items()}
    if isinstance(value, (OrderedDict, Counter)):
        moved = copy.copy(value)  # keeps `_metadata`, unlike value.copy()
        for key, element in value.items():
            moved[key] = _to_cpu(element)
        return moved
    if type(value) in (list, tuple):
        return type(value)([_to_cpu(element) for element in value])
    return value
