"""Added modules: the modules, parameters and buffers that callbacks add to the generated module.

They are no part of the user's model. Every run generates a new module, so that they move to it. Checkpoints contain
their weights beside those of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch

_MODEL = "model."


def added_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of added modules.

    Parameters
    ----------
    weights : mapping of str to tensor
        The state of a generated module.

    Returns
    -------
    dict of str to tensor
        Those that are not the model's.
    """
    return {name: value for name, value in weights.items() if not name.startswith(_MODEL)}


def load_added_weights(module: L.LightningModule, weights: Mapping[str, torch.Tensor]) -> None:
    """Load the weights of added modules into a module to which callbacks have added them.

    Parameters
    ----------
    module : lightning.pytorch.LightningModule
        The module of a run, after the callbacks' ``setup``.
    weights : mapping of str to tensor
        The result of `added_weights`.

    Raises
    ------
    ValueError
        If the module lacks one of them. Lightning does not load such a checkpoint either.
    """
    unexpected = module.load_state_dict(weights, strict=False).unexpected_keys if weights else []
    if unexpected:
        raise ValueError(
            f"The checkpoint has weights that are neither the model's nor of a module that a callback has added to the "
            f"LightningModule: {', '.join(unexpected[:5])}. Give the callbacks of the run that wrote it; they have to "
            f"add their modules in setup."
        )


def move_added_modules(source: L.LightningModule | None, target: L.LightningModule) -> None:
    """Add what callbacks have added to the module of the previous run to that of the next.

    Parameters
    ----------
    source : lightning.pytorch.LightningModule or None
        The module of the previous run.
    target : lightning.pytorch.LightningModule
        The module of the next run.
    """
    if source is None:
        return
    children: dict[str, Any] = {**dict(source.named_children()), **dict(source.named_parameters(recurse=False))}
    for name, child in children.items():
        if not hasattr(target, name):
            setattr(target, name, child)
    for name, buffer in source.named_buffers(recurse=False):
        if not hasattr(target, name):
            target.register_buffer(name, buffer, persistent=name not in source._non_persistent_buffers_set)
