"""Sharding: ``configure_model`` of the generated module, which Lightning calls once the processes are connected."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import AutomaticOptimizationModule


def attach_configure_model(module: AutomaticOptimizationModule) -> None:
    """Give a module the hook ``configure_model``, if its trainer shards its model.

    Lightning compares code to see which hooks a module overrides. A module of another trainer has none to call.

    Parameters
    ----------
    module : AutomaticOptimizationModule
        The module of a run.
    """
    if module.hooks.shards_model:
        module.configure_model = functools.partial(_configure_model, module)  # type: ignore[method-assign]


def _configure_model(module: AutomaticOptimizationModule) -> None:
    """Call the trainer's ``configure_model``, where the strategy of the run has a device mesh."""
    if module.device_mesh is not None:
        module.hooks.configure_model(module.device_mesh)
        module.model = module.hooks.model
