"""Sharded tensors: tensors of which each process holds a part (`DTensor`), gathered, sharded and measured."""

from __future__ import annotations

import copy
import inspect
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from .nested import leaves


def is_sharded(value: Any) -> bool:
    """Whether a value is a tensor of which each process holds a part, or a copy, with a device mesh."""
    module = sys.modules.get("torch.distributed.tensor")  # where nobody has imported it, there are none
    return module is not None and isinstance(value, module.DTensor)


def is_sharded_module(module: Any) -> bool:
    """Whether a module has sharded parameters. Those of `fully_shard` are whole for a moment, within a step."""
    if not isinstance(module, torch.nn.Module) or "torch.distributed.tensor" not in sys.modules:
        return False
    return any(_is_fully_sharded(part) for part in module.modules()) or any(map(is_sharded, module.parameters()))


def reshard(module: Any) -> None:
    """Let each process keep its part only of the parameters of `fully_shard`, which a forward pass has gathered."""
    if is_sharded_module(module):
        for part in module.modules():
            if _is_fully_sharded(part):
                part.reshard()


def _is_fully_sharded(module: Any) -> bool:
    classes = type(module).__mro__
    return any(cls.__name__ == "FSDPModule" and cls.__module__.startswith("torch.distributed") for cls in classes)


def gathered(value: Any, keep: bool = True) -> Any:
    """Return a value with whole tensors on the CPU in place of its sharded ones.

    Every process must call this with the same value, since each tensor is gathered from all of them, one after another.

    Parameters
    ----------
    value : object
        A tensor, or nested mappings, lists and tuples of tensors.
    keep : bool, optional
        Whether this process keeps the whole tensors. Otherwise an empty tensor takes the place of each.

    Returns
    -------
    object
        The argument itself, if it contains no sharded tensor.
    """
    return _mapped(value, lambda tensor: _gather(tensor, keep)) if any(map(is_sharded, leaves(value))) else value


def _gather(tensor: Any, keep: bool) -> torch.Tensor:
    whole: torch.Tensor = tensor.detach().to(tensor.device_mesh.device_type).full_tensor()  # a copy may be on the CPU
    if not keep:
        return whole.new_empty(0, device="cpu")
    return whole.clone() if whole.device.type == "cpu" else whole.cpu()  # a replicated one is the process's own


def shard_like(value: Any, target: Any) -> Any:
    """Return a whole tensor as one that is sharded as another one; each process keeps its part of the value.

    Parameters
    ----------
    value : torch.Tensor
        The same whole tensor on all processes; a sharded one is returned unchanged.
    target : torch.Tensor
        The tensor whose mesh and placements the result has. If it is not sharded, the value is returned unchanged.
    """
    if not is_sharded(target) or is_sharded(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = target.device_mesh, target.placements
    local = value.detach().to(mesh.device_type)
    # Without a message between the processes; torch 2.6 sends the value of the first one instead, which is the same.
    has_choice = "src_data_rank" in inspect.signature(distribute_tensor).parameters
    sharded = distribute_tensor(local, mesh, placements, **({"src_data_rank": None} if has_choice else {}))
    own = sharded.to_local()
    if own.untyped_storage().nbytes() > own.nbytes:  # a view of the whole would keep the whole
        sharded = type(sharded).from_local(
            own.clone(), mesh, placements, run_check=False, shape=value.shape, stride=sharded.stride()
        )
    return sharded


def shard_state(state: Mapping[str, Any], like: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state dictionary whose whole tensors are sharded as those of the same names in another one.

    Parameters
    ----------
    state : mapping of str to object
        The same on all processes.
    like : mapping of str to object
        ``model.state_dict()`` of the sharded model.
    """
    if not any(map(is_sharded, like.values())):
        return state
    sharded: Any = copy.copy(state)  # keeps `_metadata`
    for key, value in state.items():
        target: Any = like.get(key)
        if isinstance(value, torch.Tensor) and is_sharded(target) and value.shape == target.shape:
            sharded[key] = shard_like(value, target)
    result: Mapping[str, Any] = sharded
    return result


def shard_optimizer_state(optimizer: Any, state: Any) -> Any:
    """Return an optimizer's state dictionary whose whole tensors are sharded as the parameters that they belong to.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer; for one without sharded parameters, the state is returned unchanged.
    state : mapping
        A state dictionary of the optimizer, the same on all processes.
    """
    groups = getattr(optimizer, "param_groups", ())
    parameters = [parameter for group in groups for parameter in group["params"]]
    if not any(map(is_sharded, parameters)) or not isinstance(state, Mapping):
        return state
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    of_number = dict(zip(numbers, parameters, strict=False))
    return {
        **state,
        "state": {
            number: state_like(values, of_number[number]) if number in of_number else values
            for number, values in state["state"].items()
        },
    }


def state_like(state: Any, parameter: torch.Tensor) -> Any:
    """Return an optimizer's state of a parameter with the tensors of its shape sharded as the parameter."""
    if not isinstance(state, Mapping):
        return state
    return {
        key: shard_like(value, parameter)
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape
        else value
        for key, value in state.items()
    }


def clip_norm(parameters: Iterable[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scale gradients so that the norm of all of them is at most ``max_norm``, whichever part a process holds.

    `torch.nn.utils.clip_grad_norm_` does so for the parameters of one mesh; here they may be of several, and whole.

    Parameters
    ----------
    parameters : iterable of torch.Tensor
        The same on all processes, which all must call this.
    max_norm : float
        The norm.

    Returns
    -------
    torch.Tensor
        The norm before.
    """
    gradients: list[Any] = [parameter.grad for parameter in parameters if parameter.grad is not None]
    grouped: defaultdict[Any, list[torch.Tensor]] = defaultdict(list)
    for gradient in gradients:
        kind = (gradient.device_mesh, gradient.placements) if is_sharded(gradient) else None
        grouped[kind].append(gradient)
    norms = [_whole(torch.nn.utils.get_total_norm(group)) for group in grouped.values()]
    norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.tensor(0.0)
    scale = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    for gradient in gradients:
        local: torch.Tensor = gradient.to_local() if is_sharded(gradient) else gradient
        local.mul_(scale.to(local.device))
    return norm


def _whole(tensor: Any) -> torch.Tensor:
    whole: torch.Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return whole


def _mapped(value: Any, function: Any) -> Any:
    if is_sharded(value):
        return function(value)
    if isinstance(value, OrderedDict):
        mapped = copy.copy(value)  # keeps `_metadata`
        for key, element in value.items():
            mapped[key] = _mapped(element, function)
        return mapped
    if isinstance(value, Mapping):
        return {key: _mapped(element, function) for key, element in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(element, function) for element in value)
    return value
