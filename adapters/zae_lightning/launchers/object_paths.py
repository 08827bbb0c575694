"""Object paths: names for the objects of a trainer that keep their identity when results are applied in place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils.data import DataLoader, Dataset

from ..foreign_lightning import is_instance
from ..protocol import TrainerProtocol
from .serialization import CODE_TYPES, attributes_of, children_of

# Attributes of a trainer that belong to one process; results do not contain them.
PROCESS_LOCAL = frozenset(
    [
        "_zae_state",
        "callbacks",
        "device",
        "lightning_trainer",
        "loader",
        "loggers",
        "primary_device_index",
        "valid_loader",
        "web_logger",
    ]
)
_MODULE_ATTRIBUTES = frozenset(vars(torch.nn.Module())) - {"training"}


def named_objects(trainer: TrainerProtocol, loaders: tuple[Any, ...]) -> dict[str, Any]:
    """Return the objects whose identity matters, by path.

    These are the trainer; among its attributes the modules with their submodules, parameters and buffers, optimizers,
    schedulers and all other objects with a state; its callbacks; the datasets, samplers and generators of its loaders.
    The same trainer in another process has the same paths.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    loaders : tuple
        The arguments of the run, loaders among them.

    Returns
    -------
    dict of str to object
        The objects by path.
    """
    found: dict[str, Any] = {"trainer": trainer}
    for name, value in vars(trainer).items():
        if name not in PROCESS_LOCAL and not hasattr(type(value), "_zae_assign"):  # results contain a log as a whole
            found.update(_walk(name, value))
    for index, callback in enumerate(transferable_callbacks(trainer)):
        found[f"callbacks[{index}]"] = callback
    found["scaler"] = trainer._zae_state.config.precision.scaler
    for index, loader in enumerate(loaders):
        found[f"loaders[{index}]"] = loader
        for name in ("dataset", "generator", "sampler", "batch_sampler"):
            found[f"loaders[{index}].{name}"] = value = getattr(loader, name, None)
            found[f"loaders[{index}].{name}.sampler"] = getattr(value, "sampler", None)
            found[f"loaders[{index}].{name}.generator"] = getattr(value, "generator", None)
    seen: set[int] = set()
    return {name: value for name, value in found.items() if value is not None and not _is_seen(value, seen)}


def transferable_callbacks(trainer: TrainerProtocol) -> list[Any]:
    """Return the trainer's callbacks, except for those that are bound to this trainer object."""
    callbacks = trainer.callbacks if isinstance(trainer.callbacks, list) else []
    return [callback for callback in callbacks if not getattr(callback, "is_the_trainers", False)]


def object_state(value: Any) -> Any:
    """Return the state of an object, for `load_object_state`; None if it has none."""
    if isinstance(value, torch.Tensor):
        return ("tensor", value.detach())
    if isinstance(value, torch.nn.Module):
        return ("module", (_detached(value._parameters), _detached(value._buffers), dict(value._modules)))
    if isinstance(value, torch.optim.Optimizer):
        return ("optimizer", (dict(value.state), [dict(group) for group in value.param_groups]))
    if isinstance(value, torch.Generator):
        return ("generator", value.get_state())
    if _is_stateful(value) and not is_instance(value, Callback):  # whose state_dict contains only a part of its state
        return ("state", value.state_dict())
    return None


def extra_attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that `object_state` does not contain; each can be sent separately."""
    in_state: frozenset[str] = frozenset()
    if isinstance(value, torch.nn.Module):
        in_state = _MODULE_ATTRIBUTES
    elif isinstance(value, torch.optim.Optimizer):
        in_state = frozenset(("state", "param_groups", "defaults"))
    elif not _is_plain(value) or (_is_stateful(value) and not is_instance(value, Callback)):
        return {}
    return {key: part for key, part in attributes_of(value).items() if key not in in_state}


def load_object_state(value: Any, kind_and_state: tuple[str, Any]) -> None:
    """Load the `object_state` of the same object in another process."""
    kind, state = kind_and_state
    if kind == "tensor":
        _assign(value, state)
    elif kind == "module":
        parameters, buffers, modules = state
        _assign_all(value._parameters, parameters, torch.nn.Parameter)
        _assign_all(value._buffers, buffers, torch.Tensor)
        if modules != value._modules:
            value._modules.clear()
            value._modules.update(modules)
    elif kind == "optimizer":
        states, groups = state
        value.state.clear()
        value.state.update(states)
        for group, new in zip(value.param_groups, groups, strict=False):
            group.update(new)
        value.param_groups.extend(groups[len(value.param_groups) :])
    elif kind == "generator":
        value.set_state(state)
    else:
        value.load_state_dict(state)


def _walk(name: str, value: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Yield the objects in an attribute by path, also those in containers and in the attributes of plain objects."""
    if isinstance(value, torch.nn.Module):
        for path, module in value.named_modules():
            yield f"{name}/{path}", module
            for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
                yield f"{name}/{path}.{key}", tensor
    elif isinstance(value, torch.optim.Optimizer):
        yield name, value
        for group_index, group in enumerate(value.param_groups):
            for index, parameter in enumerate(group["params"]):
                yield f"{name}/{group_index}/{index}", parameter
        yield from _walk_children(name, value, depth)
    elif isinstance(value, DataLoader):
        yield from ((name, value), (f"{name}.dataset", value.dataset))
    elif isinstance(value, Dataset):
        yield name, value
    elif isinstance(value, (dict, list, tuple, deque)):
        yield from _walk_children(name, value, depth)
    elif isinstance(value, torch.nn.Parameter) or _is_stateful(value):
        yield name, value
    elif _is_plain(value):
        yield name, value
        yield from _walk_children(name, value, depth)


def _walk_children(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    for path, child in children_of(value) if depth else ():
        if not isinstance(child, (int, float, str, bool, torch.Tensor)) or isinstance(child, torch.nn.Parameter):
            yield from _walk(f"{name}{path}", child, depth - 1)


def _detached(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if t is None else t.detach().requires_grad_(t.requires_grad) for key, t in tensors.items()}


def _assign_all(old: dict[str, Any], new: Mapping[str, Any], cls: type) -> None:
    for key in [key for key in old if key not in new]:  # the structure of the module has changed
        del old[key]
    for key, tensor in new.items():
        if tensor is None:
            old[key] = None
            continue
        if old.get(key) is None:
            old[key] = cls(tensor.detach())
        else:
            _assign(old[key], tensor)
        old[key].requires_grad_(tensor.requires_grad)


def _assign(old: torch.Tensor, new: torch.Tensor) -> None:
    with torch.no_grad():
        if isinstance(old, (UninitializedParameter, UninitializedBuffer)):
            if not isinstance(new, (UninitializedParameter, UninitializedBuffer)):
                old.materialize(new.shape, device=new.device, dtype=new.dtype)
                old.copy_(new)
        elif old.shape == new.shape:
            old.copy_(new)
        else:
            old.data = new


def _is_stateful(value: Any) -> bool:
    is_class = isinstance(value, type)
    return not is_class and callable(getattr(value, "state_dict", None)) and hasattr(value, "load_state_dict")


def _is_plain(value: Any) -> bool:
    """Whether an object has attributes, and is no function, class, module, tensor, container or exception."""
    others = (*CODE_TYPES, torch.Tensor, dict, list, set, BaseException)
    return hasattr(value, "__dict__") and not isinstance(value, others)


def _is_seen(value: Any, seen: set[int]) -> bool:
    is_seen = id(value) in seen
    seen.add(id(value))
    return is_seen
