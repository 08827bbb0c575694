"""The objects of a trainer that stay what they are, wherever it runs: changed in place, never replaced."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils.data import DataLoader, Dataset

from .serialization import attributes_of

# Of the process that the trainer is in: not brought home.
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
_MODULES_OWN = frozenset(vars(torch.nn.Module())) - {"training"}


def named_objects(trainer: Any, loaders: tuple[Any, ...]) -> dict[str, Any]:
    """Return the objects whose identity matters, by how to get to them.

    These are the trainer, its modules with their submodules, parameters and buffers, optimizers, schedulers and every
    other object with a state of its own among its attributes, its callbacks, and the datasets, samplers and generators
    of its loaders. The same trainer in another process has the same names.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    loaders : tuple
        The arguments of the run, loaders among them.

    Returns
    -------
    dict of str to object
        The objects by name.
    """
    found: dict[str, Any] = {"trainer": trainer}
    for name, value in vars(trainer).items():
        if name not in PROCESS_LOCAL and not hasattr(type(value), "_zae_assign"):  # a log, which comes home as a whole
            found.update(_named(name, value))
    for index, callback in enumerate(own_callbacks(trainer)):
        found[f"callbacks[{index}]"] = callback
    found["scaler"] = trainer._zae_state.config.precision.scaler
    for index, loader in enumerate(loaders):
        found[f"loaders[{index}]"] = loader
        for part in ("dataset", "generator", "sampler", "batch_sampler"):
            found[f"loaders[{index}].{part}"] = value = getattr(loader, part, None)
            found[f"loaders[{index}].{part}.sampler"] = getattr(value, "sampler", None)
            found[f"loaders[{index}].{part}.generator"] = getattr(value, "generator", None)
    seen: set[int] = set()
    return {name: value for name, value in found.items() if value is not None and not _is_seen(value, seen)}


def own_callbacks(trainer: Any) -> list[Any]:
    """Return the trainer's callbacks but for those that are bound to this very one."""
    callbacks = trainer.callbacks if isinstance(trainer.callbacks, list) else []
    return [callback for callback in callbacks if not getattr(callback, "is_the_trainers", False)]


def object_state(value: Any) -> Any:
    """Return what is in an anchor, for `load_object_state`; None if there is nothing to bring home."""
    if isinstance(value, torch.Tensor):
        return ("tensor", value.detach())
    if isinstance(value, torch.nn.Module):
        return ("module", (_detached(value._parameters), _detached(value._buffers), dict(value._modules)))
    if isinstance(value, torch.optim.Optimizer):
        return ("optimizer", (dict(value.state), [dict(group) for group in value.param_groups]))
    if isinstance(value, torch.Generator):
        return ("generator", value.get_state())
    if _is_stateful(value) and not isinstance(value, Callback):  # which tells only what a checkpoint needs
        return ("state", value.state_dict())
    return None


def extra_attributes(value: Any) -> dict[str, Any]:
    """Return attributes of an anchor that are beside its content, each of which may be left behind."""
    own: frozenset[str] = frozenset()
    if isinstance(value, torch.nn.Module):
        own = _MODULES_OWN
    elif isinstance(value, torch.optim.Optimizer):
        own = frozenset(("state", "param_groups", "defaults"))
    elif not _is_plain(value) or (_is_stateful(value) and not isinstance(value, Callback)):
        return {}
    return {key: part for key, part in attributes_of(value).items() if key not in own}


def load_object_state(value: Any, content: Any) -> None:
    """Give an anchor what `object_state` found in its counterpart."""
    kind, state = content
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


def _named(name: str, value: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Yield the anchors in an attribute: in containers, and in the attributes of plain objects, too."""
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
        yield from _within(name, attributes_of(value), depth)
    elif isinstance(value, DataLoader):
        yield from ((name, value), (f"{name}.dataset", value.dataset))
    elif isinstance(value, Dataset):
        yield name, value
    elif isinstance(value, dict):
        yield from _within(name, value, depth)
    elif isinstance(value, (list, tuple, deque)):
        yield from _within(name, dict(enumerate(value)), depth)
    elif isinstance(value, torch.nn.Parameter) or _is_stateful(value):
        yield name, value
    elif _is_plain(value):
        yield name, value
        yield from _within(name, attributes_of(value), depth)


def _within(name: str, parts: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, part in parts.items() if depth else ():
        if not isinstance(part, (int, float, str, bool, torch.Tensor)) or isinstance(part, torch.nn.Parameter):
            yield from _named(f"{name}[{key!r}]", part, depth - 1)


def _detached(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if t is None else t.detach().requires_grad_(t.requires_grad) for key, t in tensors.items()}


def _assign_all(own: dict[str, Any], new: Mapping[str, Any], kind: type) -> None:
    for key in [key for key in own if key not in new]:  # the module has changed its structure
        del own[key]
    for key, tensor in new.items():
        if tensor is None:
            own[key] = None
            continue
        if own.get(key) is None:
            own[key] = kind(tensor.detach())
        else:
            _assign(own[key], tensor)
        own[key].requires_grad_(tensor.requires_grad)


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
    """Whether this is an object with attributes of its own, and no function, class, module or tensor."""
    no_objects = (type, types.ModuleType, types.FunctionType, types.MethodType, torch.Tensor)
    return hasattr(value, "__dict__") and not isinstance(value, (*no_objects, dict, list, set, BaseException))


def _is_seen(value: Any, seen: set[int]) -> bool:
    is_seen = id(value) in seen
    seen.add(id(value))
    return is_seen
