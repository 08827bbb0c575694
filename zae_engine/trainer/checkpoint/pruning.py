"""Pruning: the state dictionary of a model whose parameters `torch.nn.utils.prune` has reparametrised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_ORIGINAL, _MASK = "_orig", "_mask"  # the names that torch.nn.utils.prune gives


def without_pruning(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state dictionary with the effective weights of pruned parameters, so that any model can load it.

    Parameters
    ----------
    state : dict
        A state dictionary; `torch.nn.utils.prune` keeps ``weight_orig`` and ``weight_mask`` for ``weight``.

    Returns
    -------
    dict
        The same dictionary if nothing in it is pruned.
    """
    names = [key[: -len(_ORIGINAL)] for key in state if key.endswith(_ORIGINAL)]
    pruned = [name for name in names if name + _MASK in state and name not in state]
    for name in pruned:
        state[name] = state.pop(name + _ORIGINAL) * state.pop(name + _MASK)
    return state


def for_pruned_model(model: torch.nn.Module, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return effective weights under the names of a model that is pruned; of another model, the state itself.

    Parameters
    ----------
    model : torch.nn.Module
        The model that loads the weights.
    state : mapping
        What `without_pruning` returned, or any state dictionary.
    """
    own = model.state_dict().keys()
    pruned = {key for key in state if key not in own and key + _ORIGINAL in own and key + _MASK in own}
    if not pruned:
        return state
    renamed = {key + _ORIGINAL if key in pruned else key: value for key, value in state.items()}
    return {**renamed, **{key + _MASK: (state[key] != 0).to(state[key].dtype) for key in pruned}}
