"""What a trainer has become in another process: collected there, and given to the one that waits."""

from __future__ import annotations

import functools
import types
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .anchors import LEFT_OUT, content_of, details_of, restore
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
    packed: dict[str, dict[Any, bytes]] = {"contents": {}, "details": {}, "attributes": {}}

    def take(kind: str, name: Any, value: Any) -> None:
        try:
            packed[kind][name] = pack(value, known)
        except Exception as error:
            _tell(name, error)

    for name, anchor in anchors.items():
        if _has_content(name, anchor) and id(anchor) not in in_modules:
            if (content := content_of(anchor)) is not None:
                take("contents", name, content)
            for key, value in details_of(anchor).items():
                take("details", (name, key), value)
    for name, value in vars(trainer).items():
        if name not in LEFT_OUT and not isinstance(value, _CODE):
            take("attributes", name, value)
    state, lightning_trainer = trainer._zae_state, trainer.lightning_trainer
    rest = {
        "feed": state.feed.__getstate__(),
        "counts": state.counts,
        "history": state.history,
        "metrics": dict(lightning_trainer.callback_metrics) if lightning_trainer is not None else {},
        "random": state.random_state(),
    }
    return pack({**packed, "rest": pack(rest)})


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
    home = unpack(parcel)

    def unpacked(name: Any, value: bytes, use: Callable[[Any], None]) -> None:
        try:
            use(unpack(value, anchors, map_location=lambda storage, location: storage))  # onto the CPU
        except Exception as error:
            _tell(name, error)

    for name, content in home["contents"].items():
        unpacked(name, content, functools.partial(restore, anchors[name]))
    for (name, key), detail in home["details"].items():
        unpacked(f"{name}.{key}", detail, functools.partial(vars(anchors[name]).__setitem__, key))
    for name, attribute in home["attributes"].items():
        unpacked(name, attribute, functools.partial(_replace, vars(trainer), name))
    rest = unpack(home["rest"])
    state = trainer._zae_state
    state.counts = rest["counts"]
    state.history.adopt(rest["history"])
    vars(state.feed).update({key: value for key, value in rest["feed"].items() if not isinstance(value, list)})
    state.set_random_state(rest["random"])
    metrics: dict[str, Any] = rest["metrics"]
    return metrics


def _replace(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Set an attribute; a dict or a list stays the same object, since others may hold it."""
    old = attributes.get(name)
    if old is value:
        return
    if type(old) is type(value) and hasattr(type(old), "_zae_adopt"):
        old._zae_adopt(value)  # type: ignore[union-attr]
        return
    if isinstance(old, (dict, set)) and type(old) is type(value):
        old.clear()
        old.update(value)
    elif isinstance(old, (list, deque)) and type(value) is type(old):
        old.clear()
        old.extend(value)
    else:
        attributes[name] = value


def _has_content(name: str, anchor: Any) -> bool:
    """Whether an anchor's content comes home: not the trainer's, which has its attributes, nor loaders and datasets."""
    if name == "trainer" or isinstance(anchor, (DataLoader, Dataset)):
        return False
    return not name.startswith("loaders") or name.endswith(("sampler", "generator"))


def _tensors_of(module: torch.nn.Module) -> list[Any]:
    return [*module._parameters.values(), *module._buffers.values()]


def _tell(name: Any, error: Exception) -> None:
    """Warn of something that stays as it was before the run; small matters are left out."""
    if isinstance(name, str) and not name.startswith("loaders"):
        warnings.warn(
            f"{name} cannot be brought home from the process that ran the trainer ({type(error).__name__}: {error}). "
            f"It is as before the run.",
            stacklevel=2,
        )
