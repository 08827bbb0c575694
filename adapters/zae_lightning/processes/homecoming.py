"""What a trainer has become in another process: collected there, and given to the one that waits."""

from __future__ import annotations

import types
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from .anchors import LEFT_OUT, content_of, restore
from .parcel import pack, unpack

_CODE = (type, types.ModuleType, types.FunctionType, types.MethodType)


def collect(trainer: Any, anchors: Mapping[str, Any]) -> bytes:
    """Return, packed, all that a run has changed in a trainer.

    Parameters
    ----------
    trainer : Trainer
        The trainer, in the process that ran it.
    anchors : mapping of str to object
        Its `anchors_of` before the run.

    Returns
    -------
    bytes
        For `adopt`.
    """
    known = {id(value): name for name, value in anchors.items()}
    in_modules = {id(t) for m in anchors.values() if isinstance(m, torch.nn.Module) for t in _tensors_of(m)}
    contents = {
        name: content
        for name, value in anchors.items()
        if _has_content(name) and id(value) not in in_modules and (content := content_of(value)) is not None
    }
    attributes = {
        name: value for name, value in vars(trainer).items() if name not in LEFT_OUT and not isinstance(value, _CODE)
    }
    state, lightning_trainer = trainer._zae_state, trainer.lightning_trainer
    home = {
        "contents": contents,
        "attributes": attributes,
        "feed": state.feed.__getstate__(),
        "counts": state.counts,
        "metrics": dict(lightning_trainer.callback_metrics) if lightning_trainer is not None else {},
        "random": state.random_state(),
    }
    try:
        return pack(home, known)
    except Exception:  # something that was made on the way; the rest comes home without it
        for name, (kind, content) in contents.items():
            if kind == "object":
                contents[name] = (kind, {key: part for key, part in content.items() if _can_travel(part, known)})
        for part in ("contents", "attributes"):
            home[part] = {name: value for name, value in home[part].items() if _travels(name, value, known)}
        return pack(home, known)


def adopt(trainer: Any, anchors: Mapping[str, Any], parcel: bytes) -> dict[str, Any]:
    """Give a trainer all that a run has changed in its counterpart, in place.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer.
    anchors : mapping of str to object
        Its `anchors_of`, with the same names as in the other process.
    parcel : bytes
        What `collect` gave there.

    Returns
    -------
    dict of str to torch.Tensor
        Lightning's ``callback_metrics``.
    """
    home = unpack(parcel, anchors, map_location=lambda storage, location: storage)  # onto the CPU
    for name, content in home["contents"].items():
        restore(anchors[name], content)
    for name, value in home["attributes"].items():
        _replace(vars(trainer), name, value)
    state = trainer._zae_state
    state.counts = home["counts"]
    vars(state.feed).update({key: value for key, value in home["feed"].items() if not isinstance(value, list)})
    state.set_random_state(home["random"])
    metrics: dict[str, Any] = home["metrics"]
    return metrics


def _replace(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Set an attribute; a dict or a list stays the same object, since others may hold it."""
    old = attributes.get(name)
    if old is value:
        return
    if isinstance(old, dict) and type(old) is type(value):
        old.clear()
        old.update(value)
    elif type(old) is list and type(value) is list:
        old[:] = value
    else:
        attributes[name] = value


def _has_content(name: str) -> bool:
    """Whether an anchor's content comes home: not the trainer's, which has its attributes, nor loaders and datasets."""
    return name != "trainer" and (not name.startswith("loaders") or name.endswith(("sampler", "generator")))


def _tensors_of(module: torch.nn.Module) -> list[Any]:
    return [*module._parameters.values(), *module._buffers.values()]


def _can_travel(value: Any, known: Mapping[int, str]) -> bool:
    try:
        pack(value, known)
    except Exception:
        return False
    return True


def _travels(name: str, value: Any, known: Mapping[int, str]) -> bool:
    try:
        pack(value, known)
    except Exception as error:
        if not name.startswith("loaders"):
            warnings.warn(
                f"{name} was changed by the run, but cannot be brought home from the process that did: "
                f"{type(error).__name__}: {error}. It is as before the run.",
                stacklevel=2,
            )
        return False
    return True
