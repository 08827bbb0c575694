"""Choosing Lightning's accelerator and strategy for a trainer's devices."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy, StrategyRegistry

from .launchers.process_group import ProcessEnvironment


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


def placement_arguments(devices: list[torch.device], primary: int, world: Any, strategy: Any) -> dict[str, Any]:
    """Return the arguments of ``L.Trainer`` that say where it runs.

    Parameters
    ----------
    devices : list of torch.device
        The trainer's devices.
    primary : int
        Which of them is this process's.
    world : World or None
        The processes that train together; None for one alone.
    strategy : str or lightning.pytorch.strategies.Strategy
        What the user asked for; "auto" means DDP for several processes.

    Returns
    -------
    dict
        ``accelerator``, ``devices``, ``num_nodes``, ``strategy`` and ``plugins``.
    """
    if world is None:
        # One process, under SLURM or torchrun too, where each task may run a trainer of its own.
        place = {**accelerator_arguments(devices[primary]), "plugins": [LightningEnvironment()]}
        if isinstance(strategy, str) and strategy == "auto":
            return place
        return {**place, "strategy": strategy_for(strategy)}
    kind = devices[0].type
    return {
        "accelerator": kind,
        "devices": [device.index for device in devices] if kind == "cuda" else len(devices),
        "num_nodes": world.nodes,
        "strategy": strategy_for(strategy),
        "plugins": [ProcessEnvironment(world)],
        "use_distributed_sampler": False,  # the batches are dealt out already
    }


def strategy_for(given: Any) -> Strategy:
    """Return a strategy that starts no processes of its own.

    Parameters
    ----------
    given : str or lightning.pytorch.strategies.Strategy
        A name that Lightning knows, "auto" for "ddp", or an instance, of which a copy is made. How a name says that
        processes are started ("ddp_spawn", "ddp_notebook") does not matter here.

    Returns
    -------
    lightning.pytorch.strategies.Strategy
        The strategy.
    """
    if isinstance(given, str):
        name = "ddp" if given == "auto" else re.sub("_(spawn|fork|notebook)", "", given)
        strategy: Strategy = StrategyRegistry.get(name)
    else:
        strategy = copy.deepcopy(given)
    # Private to Lightning, but the one place where a strategy is told to start processes, or that it cannot in a
    # notebook; the processes run already. tests/zae_lightning/test_devices.py fails if it changes.
    strategy._configure_launcher = lambda: None  # type: ignore[method-assign]
    if isinstance(strategy, DDPStrategy):  # tests do not go through the wrapped module, which needs all ranks in step
        strategy.validation_step = functools.partial(_test_directly, strategy, "validation_step")  # type: ignore[method-assign]
        strategy.test_step = functools.partial(_test_directly, strategy, "test_step")  # type: ignore[method-assign]
    return strategy


def _test_directly(strategy: Strategy, name: str, *args: Any) -> Any:
    with strategy.precision_plugin.forward_context():
        return getattr(strategy.lightning_module, name)(*args)
