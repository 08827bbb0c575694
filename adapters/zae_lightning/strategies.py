"""Strategies: Lightning's accelerator and strategy for a trainer's devices."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy, StrategyRegistry

from .launchers.process_group import ProcessEnvironment
from .protocol import World


def accelerator_arguments(device: torch.device) -> dict[str, Any]:
    """Return the ``accelerator`` and ``devices`` arguments of ``L.Trainer`` for one device.

    Parameters
    ----------
    device : torch.device
        "cpu", "cuda", "cuda:<i>" or "mps". A "cuda" without index means the current CUDA device.

    Returns
    -------
    dict
        ``{"accelerator": ..., "devices": ...}``.
    """
    if device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        return {"accelerator": "cuda", "devices": [index]}
    return {"accelerator": device.type, "devices": 1}


def placement_arguments(
    devices: list[torch.device], primary: int, world: World | None, strategy: str | Strategy
) -> dict[str, Any]:
    """Return the arguments of ``L.Trainer`` for its devices and processes.

    Parameters
    ----------
    devices : list of torch.device
        The trainer's devices.
    primary : int
        The index of this process's device.
    world : World or None
        The processes that train together; None for a single process.
    strategy : str or lightning.pytorch.strategies.Strategy
        The user's strategy; "auto" means DDP for several processes.

    Returns
    -------
    dict
        ``accelerator``, ``devices``, ``num_nodes``, ``strategy`` and ``plugins``.
    """
    if world is None:
        # A single process under SLURM or torchrun too: each task may run its own trainer.
        single = {**accelerator_arguments(devices[primary]), "plugins": [LightningEnvironment()]}
        if isinstance(strategy, str) and strategy == "auto":
            return single
        return {**single, "strategy": strategy_for(strategy)}
    accelerator = devices[0].type
    return {
        "accelerator": accelerator,
        "devices": [device.index for device in devices] if accelerator == "cuda" else len(devices),
        "num_nodes": world.nodes,
        "strategy": strategy_for(strategy),
        "plugins": [ProcessEnvironment(world)],
        "use_distributed_sampler": False,  # the loaders are sharded already
    }


def plugins_for(own: list[Any], given: list[Any], world: World | None) -> list[Any]:
    """Return the plugins of ``L.Trainer``: the user's cluster environment takes the place of the adapter's.

    Parameters
    ----------
    own : list
        Those of `placement_arguments`, a single cluster environment.
    given : list
        The user's plugins.
    world : World or None
        The processes that train together.

    Raises
    ------
    ValueError
        If the user's cluster environment contradicts the processes that there are.
    """
    environments = [plugin for plugin in given if isinstance(plugin, ClusterEnvironment)]
    if world is not None:
        for environment in environments:
            found = (environment.global_rank(), environment.world_size(), environment.local_rank())
            if found != (world.rank, world.size, world.local_rank):
                raise ValueError(
                    f"The plugin {type(environment).__name__} says that this process has rank {found[0]} of {found[1]} "
                    f"and local rank {found[2]}, but it has rank {world.rank} of {world.size} and local rank "
                    f"{world.local_rank}. Leave the plugin out: the trainer finds the processes itself."
                )
    return given if environments else [*own, *given]


def strategy_for(requested: str | Strategy) -> Strategy:
    """Return a strategy that starts no processes.

    Parameters
    ----------
    requested : str or lightning.pytorch.strategies.Strategy
        A name of Lightning's, "auto" for "ddp", or an instance, which is copied. The start method in a name
        ("ddp_spawn", "ddp_notebook") is ignored.

    Returns
    -------
    lightning.pytorch.strategies.Strategy
        The strategy.
    """
    if isinstance(requested, str):
        name = "ddp" if requested == "auto" else re.sub("_(spawn|fork|notebook)", "", requested)
        strategy: Strategy = StrategyRegistry.get(name)
    else:
        strategy = copy.deepcopy(requested)
    methods: Any = strategy
    # The processes run already, so that the strategy needs no launcher; some launchers refuse to run in a notebook. The
    # method is private to Lightning; tests/unit/zae_lightning/test_strategies.py fails if it changes.
    methods._configure_launcher = _start_nothing
    if isinstance(strategy, DDPStrategy):  # the wrapped module would require equally many test batches on all ranks
        methods.validation_step = functools.partial(_call_unwrapped, strategy, "validation_step")
        methods.test_step = functools.partial(_call_unwrapped, strategy, "test_step")
    return strategy


def _start_nothing() -> None:
    """Stand in for the method that makes a launcher."""


def _call_unwrapped(strategy: Strategy, name: str, *args: Any) -> Any:
    with strategy.precision_plugin.forward_context():
        return getattr(strategy.lightning_module, name)(*args)


def is_own_method(method: object) -> bool:
    """Whether a method of a strategy is one that `strategy_for` has set.

    Parameters
    ----------
    method : object
        The value of an attribute of the strategy.
    """
    return method is _start_nothing or getattr(method, "func", None) is _call_unwrapped
