"""Weights: copy, read and load the state dictionary of a model."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..utilities.atomic_io import unreadable
from ..utilities.sharded_tensors import gathered, is_sharded_module, shard_state
from .pruning import for_pruned_model
from .storage.integrity import check_zip

WeightsFile = str | os.PathLike[str] | BinaryIO


def clone_state_dict(model: torch.nn.Module) -> dict[str, Any]:
    """Return a copy of the model's state dictionary on the CPU. Further training does not change it.

    Parameters
    ----------
    model : torch.nn.Module
        The model.

    Returns
    -------
    dict
        A copy of ``model.state_dict()`` without the values of uninitialized lazy modules.
    """
    state = model.state_dict()
    copied = copy.copy(state)  # keeps `_metadata`, unlike state.copy(); a model may return its own dict
    for key, value in state.items():
        if isinstance(value, (UninitializedParameter, UninitializedBuffer)):
            del copied[key]
        elif isinstance(value, torch.Tensor):
            value = value.detach()
            copied[key] = value.clone() if value.device.type == "cpu" else value.cpu()
        else:
            copied[key] = copy.deepcopy(value)
    return copied


_COMPILED = "_orig_mod."
"""What `torch.compile` puts before the names of a module's parameters."""


def plain_state_dict(model: Any) -> dict[str, Any]:
    """Return the model's state dictionary under the names that it has without `torch.compile`."""
    state: dict[str, Any] = model.state_dict()
    if not any(_COMPILED in str(key) for key in state):
        return state
    plain = type(state)((key.replace(_COMPILED, ""), value) for key, value in state.items())
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        plain._metadata = type(metadata)(  # type: ignore[attr-defined]
            (f"{key}.".replace(_COMPILED, "").removesuffix("."), value) for key, value in metadata.items()
        )
    return plain


def save(model: Any, filename: WeightsFile, is_writer: bool) -> None:
    """Save a model's weights with `torch.save` in one process. For a sharded model, all processes must call this."""
    state = gathered(plain_state_dict(model), keep=is_writer)
    if is_writer:
        torch.save(state, filename)


def names_of(model: Any, state: Any) -> Any:
    """Return a state dictionary under the names of a model, where one of them is compiled and the other is not."""
    if not isinstance(model, torch.nn.Module) or not isinstance(state, Mapping):
        return state
    is_compiled = any("_orig_mod" in module._modules for module in model.modules())
    if not is_compiled and not any(_COMPILED in str(key) for key in state):
        return state
    own = {key.replace(_COMPILED, ""): key for key in model.state_dict()}
    names = {key: own.get(str(key).replace(_COMPILED, ""), key) for key in state}
    if all(key == name for key, name in names.items()):
        return state
    return {names[key]: value for key, value in state.items()}


def for_sharded_model(model: Any, state: Any) -> Any:
    """Return a state dictionary of whole tensors as one that a sharded model loads; for other models, unchanged."""
    return shard_state(state, model.state_dict()) if is_sharded_module(model) and isinstance(state, Mapping) else state


class IncompatibleStateError(ValueError, RuntimeError):
    """A state belongs to another model, optimizer or scheduler."""


def read(filename: WeightsFile, save_format: str = "ckpt", is_verified: bool = False) -> dict[str, Any]:
    """Read a model's state dictionary onto the CPU. The function runs no code from the file.

    Parameters
    ----------
    filename : path or binary file
        The file.
    save_format : {"ckpt", "safetensor"}, optional
        The format: that of `torch.save`, the default, or safetensors. The latter has no checksums.
    is_verified : bool, optional
        Whether the caller has verified the file; otherwise the checksums within it are compared with its data.

    Returns
    -------
    dict
        The state dictionary.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not have that format, or is damaged.
    """
    is_path = isinstance(filename, (str, os.PathLike))
    try:
        if save_format == "ckpt":
            if not is_verified:
                check_zip(filename)
            state: dict[str, Any] = torch.load(filename, map_location="cpu", weights_only=True)
        elif is_path:
            state = safetensors.torch.load_file(filename)  # type: ignore[arg-type]
        else:
            state = safetensors.torch.load(filename.read())  # type: ignore[union-attr]
        if not isinstance(state, Mapping):
            raise TypeError(f"it holds a {type(state).__name__}, but a dict of tensors is expected")
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(unreadable(_name(filename), f"no {save_format} file of weights", error)) from error
    return state


def _name(file: Any) -> str:
    return os.fspath(file) if isinstance(file, (str, os.PathLike)) else str(getattr(file, "name", repr(file)))


def _format(file: Any) -> str:
    """Return the format of a file: a path tells by its name, an open file by its first bytes."""
    if isinstance(file, (str, os.PathLike)):
        return "safetensor" if os.fspath(file).endswith((".safetensor", ".safetensors")) else "ckpt"
    position = file.tell()
    start = file.read(9)
    file.seek(position)
    return "safetensor" if start[8:] == b"{" else "ckpt"  # the length of a header, and a header in JSON


def apply(model: torch.nn.Module, buffer: Mapping[str, list[Any]], filename: WeightsFile | None, strict: bool) -> None:
    """Load weights into the model, from a file or from the buffer. On an error, the model keeps its weights.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    buffer : mapping
        ``weight_buffer`` of a trainer. Its last weights are loaded if ``filename`` is None.
    filename : path, binary file or None
        A file with a state dictionary. A name that ends in ``.safetensor`` or ``.safetensors`` selects that format;
        an open file has the format of its content.
    strict : bool
        Whether all keys must match.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file cannot be read.
    IncompatibleStateError
        If the weights belong to another model. It is a `ValueError`, and a `RuntimeError` as torch's errors are.
    """
    if filename:
        state = read(filename, _format(filename))
    elif buffer.get("weight"):
        state = buffer["weight"][-1]
    else:
        print("There is no weight in buffer of trainer: no epoch has been better than the start.")
        return
    before = clone_state_dict(model)
    try:
        model.load_state_dict(for_pruned_model(model, for_sharded_model(model, names_of(model, state))), strict=strict)
    except Exception as error:
        model.load_state_dict(before, strict=False)  # uninitialized lazy modules have no weights
        what = f"{_name(filename)!r} does" if filename else "The weights in the buffer do"
        reason = " ".join(str(error).split())[:300]
        raise IncompatibleStateError(
            f"{what} not fit the model ({type(error).__name__}: {reason}). Nothing has been loaded."
        ) from error
