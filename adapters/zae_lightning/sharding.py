"""Sharding: ``configure_model`` of the generated module, and clipping where parameters are of several meshes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L
import torch

if TYPE_CHECKING:
    from .module import AutomaticOptimizationModule


def attach_configure_model(module: AutomaticOptimizationModule) -> None:
    """Give a module ``configure_model``, and clipping of sharded gradients, if its trainer shards its model.

    Lightning compares code to see which hooks a module overrides. A module of another trainer has none to call.

    Parameters
    ----------
    module : AutomaticOptimizationModule
        The module of a run.
    """
    if module.hooks.shards_model:
        methods: Any = module
        methods.configure_model = functools.partial(_configure_model, module)
        methods.clip_gradients = functools.partial(_clip_gradients, module)


def _configure_model(module: AutomaticOptimizationModule) -> None:
    """Call the trainer's ``configure_model``, where the strategy of the run has a device mesh."""
    if module.device_mesh is not None:
        module.hooks.configure_model(module.device_mesh)
        module.model = module.hooks.model


def _clip_gradients(
    module: AutomaticOptimizationModule,
    optimizer: torch.optim.Optimizer,
    gradient_clip_val: float | None = None,
    gradient_clip_algorithm: Any = None,
) -> None:
    """Clip as Lightning's ``clip_gradients`` does, which takes the norm of the parameters of a single mesh alone."""
    if gradient_clip_val and str(gradient_clip_algorithm or "norm").lower().endswith("norm"):
        module.hooks.clip_norm(list(module.trainer.precision_plugin.main_params(optimizer)), float(gradient_clip_val))
    else:
        L.LightningModule.clip_gradients(module, optimizer, gradient_clip_val, gradient_clip_algorithm)
