"""The objects of a trainer that stay what they are, wherever it runs: changed in place, never replaced."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

# Of the process that the trainer is in: not brought home.
LEFT_OUT = frozenset(
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


def anchors_of(trainer: Any, loaders: tuple[Any, ...]) -> dict[str, Any]:
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
        if name not in LEFT_OUT:
            found.update(_named(name, value))
    for index, callback in enumerate(own_callbacks(trainer)):
        found[f"callbacks[{index}]"] = callback
    found["scaler"] = trainer._zae_state.autocast.scaler
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


def content_of(value: Any) -> Any:
    """Return what is in an anchor, for `restore`; None if there is nothing to bring home."""
    if isinstance(value, torch.Tensor):
        return ("tensor", value.detach())
    if isinstance(value, torch.nn.Module):
        attributes = {key: part for key, part in vars(value).items() if key not in _MODULES_OWN}
        return ("module", (_detached(value._parameters), _detached(value._buffers), attributes))
    if isinstance(value, torch.optim.Optimizer):
        return ("optimizer", (dict(value.state), [dict(group) for group in value.param_groups]))
    if isinstance(value, torch.Generator):
        return ("generator", value.get_state())
    if _is_stateful(value) and not isinstance(value, Callback):  # which tells only what a checkpoint needs
        return ("state", value.state_dict())
    if _is_plain(value):
        return ("object", dict(vars(value)))
    return None


def restore(value: Any, content: Any) -> None:
    """Give an anchor what `content_of` found in its counterpart."""
    kind, state = content
    if kind == "tensor":
        _assign(value, state)
    elif kind == "module":
        parameters, buffers, attributes = state
        _assign_all(value._parameters, parameters, torch.nn.Parameter)
        _assign_all(value._buffers, buffers, torch.Tensor)
        vars(value).update(attributes)
    elif kind == "optimizer":
        states, groups = state
        value.state.clear()
        value.state.update(states)
        for group, new in zip(value.param_groups, groups, strict=False):
            group.update(new)
        value.param_groups.extend(groups[len(value.param_groups) :])
    elif kind == "generator":
        value.set_state(state)
    elif kind == "state":
        value.load_state_dict(state)
    else:
        vars(value).update(state)


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    parts: Mapping[Any, Any] = {None: value}
    if type(value) in (list, tuple):
        parts = dict(enumerate(value))
    elif isinstance(value, dict):
        parts = value
    for key, part in parts.items():
        part_name = name if key is None else f"{name}[{key!r}]"
        if isinstance(part, torch.nn.Module):
            for path, module in part.named_modules():
                yield f"{part_name}/{path}", module
                for key_, tensor in [*module._parameters.items(), *module._buffers.items()]:
                    yield f"{part_name}/{path}.{key_}", tensor
        elif isinstance(part, torch.optim.Optimizer):
            yield part_name, part
            for group_index, group in enumerate(part.param_groups):
                for index, parameter in enumerate(group["params"]):
                    yield f"{part_name}/{group_index}/{index}", parameter
        elif isinstance(part, torch.nn.Parameter) or _is_stateful(part) or _is_plain(part):
            yield part_name, part


def _detached(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if tensor is None else tensor.detach() for key, tensor in tensors.items()}


def _assign_all(own: dict[str, Any], new: Mapping[str, Any], kind: type) -> None:
    for key in [key for key in own if key not in new]:  # the module has changed its structure
        del own[key]
    for key, tensor in new.items():
        if tensor is not None and own.get(key) is not None:
            _assign(own[key], tensor)
        else:
            own[key] = tensor if tensor is None else kind(tensor)


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
