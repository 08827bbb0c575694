"""Keeping and loading a model's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch


def copy_of(model: torch.nn.Module) -> dict[str, Any]:
    """Return a copy of the model's state dictionary on the CPU, which training on does not change.

    Parameters
    ----------
    model : torch.nn.Module
        The model.

    Returns
    -------
    dict
        As ``model.state_dict()``.
    """
    state = model.state_dict()
    copied = state.copy()  # with the versions that state_dict() attaches; it may be the model's own dict
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            value = value.detach()
            copied[key] = value.clone() if value.device.type == "cpu" else value.cpu()
        else:
            copied[key] = copy.deepcopy(value)
    return copied


def apply(model: torch.nn.Module, buffer: Mapping[str, list[Any]], filename: str | None, strict: bool) -> None:
    """Load weights from a file, or the last of the buffer if ``filename`` is None, into the model.

    Parameters
    ----------
    model : torch.nn.Module
        The model to change.
    buffer : mapping
        ``weight_buffer`` of a trainer.
    filename : str or None
        A file with a state dictionary.
    strict : bool
        Whether all keys must match.
    """
    if filename:
        try:
            state = torch.load(filename, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            print(f"Cannot find file {filename}", error)
            return
    elif buffer.get("weight"):
        state = buffer["weight"][-1]
    else:
        print("There is no weight in buffer of trainer: no epoch has been better than the start.")
        return
    model.load_state_dict(state, strict=strict)
