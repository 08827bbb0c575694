"""Sharded parameters: the optimizers of a model before it is sharded, with its sharded parameters afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..utilities.sharded_tensors import is_sharded, state_like

_COMPILED = "_orig_mod."


class ParameterReplacement:
    """Puts the sharded parameters of a model in the place of those that its optimizers have.

    Sharding gives a model new parameters. An optimizer that was made before has the old ones: it would train tensors
    that no forward pass uses, and keep them in memory. Its groups, with their settings and its state, get the new ones;
    it stays the same object, so that schedulers stay those of this optimizer.

    Parameters
    ----------
    model : torch.nn.Module
        The model before it is sharded.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._names: dict[Any, str] = {parameter: _plain(name) for name, parameter in model.named_parameters()}

    def apply(self, model: torch.nn.Module, optimizers: Iterable[Any]) -> None:
        """Replace the parameters in the optimizers.

        Parameters
        ----------
        model : torch.nn.Module
            The model, sharded; it may be another object, with parameters of the same names.
        optimizers : iterable of objects with ``param_groups``
            The optimizers. Those of the new parameters, and of parameters outside the model, stay unchanged.

        Raises
        ------
        ValueError
            If the model has no parameter of the name and shape of an old one.
        """
        new = {_plain(name): parameter for name, parameter in model.named_parameters(remove_duplicate=False)}
        current = {id(parameter) for parameter in new.values()}
        replaced: dict[Any, Any] = {old: new.get(name) for old, name in self._names.items() if id(old) not in current}
        for optimizer in optimizers:
            self._check(optimizer, replaced)
            for group in optimizer.param_groups:
                group["params"][:] = [replaced.get(parameter, parameter) for parameter in group["params"]]
                _allow_mixed(group)
            state = getattr(optimizer, "state", {})
            for old in [parameter for parameter in state if parameter in replaced]:
                state[replaced[old]] = state_like(state.pop(old), replaced[old])

    def _check(self, optimizer: Any, replaced: Mapping[Any, Any]) -> None:
        for group in optimizer.param_groups:
            for old in group["params"]:
                if old not in replaced:
                    continue
                new, name = replaced[old], self._names[old]
                if new is None or new.shape != old.shape:
                    found = "no such parameter" if new is None else f"one of shape {tuple(new.shape)}"
                    raise ValueError(
                        f"The {type(optimizer).__name__} has the parameter {name!r} of shape {tuple(old.shape)}, but "
                        f"after configure_model the model has {found}. Make the optimizer in configure_model, after "
                        f"the sharding: self.optimizer = {type(optimizer).__name__}(self.model.parameters(), ...)."
                    )


def _plain(name: str) -> str:
    return name.replace(_COMPILED, "").replace("_checkpoint_wrapped_module.", "")


def _allow_mixed(group: dict[str, Any]) -> None:
    """Let a group of sharded and whole parameters be updated one by one: torch cannot take them together."""
    meshes = {parameter.device_mesh if is_sharded(parameter) else None for parameter in group["params"]}
    if len(meshes) > 1 and "foreach" in group and group["foreach"] is None and not group.get("fused"):
        group["foreach"] = False
