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

from .object_paths import PROCESS_LOCAL, extra_attributes, load_object_state, object_state
from .serialization import deserialize, serialize

_CODE = (type, types.ModuleType, types.FunctionType, types.MethodType)


def collect_results(trainer: Any, objects: Mapping[str, Any]) -> bytes:
    """Return, serialized, all that a run has changed in a trainer.

    Parameters
    ----------
    trainer : Trainer
        The trainer, in the process that ran it.
    objects : mapping of str to object
        Its `named_objects` before the run.

    Returns
    -------
    bytes
        For `apply_results`.
    """
    known = {id(value): name for name, value in objects.items()}
    in_modules = {id(t) for m in objects.values() if isinstance(m, torch.nn.Module) for t in _tensors_of(m)}
    serialized: dict[str, dict[Any, bytes]] = {"contents": {}, "details": {}, "attributes": {}}

    def add(kind: str, name: Any, value: Any) -> None:
        try:
            serialized[kind][name] = serialize(value, known)
        except Exception as error:
            _warn(name, error)

    for name, known_object in objects.items():
        if _has_content(name, known_object) and id(known_object) not in in_modules:
            if (content := object_state(known_object)) is not None:
                add("contents", name, content)
            for key, value in extra_attributes(known_object).items():
                add("details", (name, key), value)
    for name, value in vars(trainer).items():
        if name not in PROCESS_LOCAL and not isinstance(value, _CODE):
            add("attributes", name, value)
    records, lightning_trainer = trainer._zae_state.records, trainer.lightning_trainer
    rest = {
        "feed": records.logger_connector.__getstate__(),
        "counts": records.lightning_progress,
        "history": records.history,
        "metrics": dict(lightning_trainer.callback_metrics) if lightning_trainer is not None else {},
        "random": trainer._zae_state.random_state(),
    }
    return serialize({**serialized, "rest": serialize(rest)})


def apply_results(trainer: Any, objects: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Give a trainer all that a run has changed in its counterpart, in place.

    Parameters
    ----------
    trainer : Trainer
        The user's trainer.
    objects : mapping of str to object
        Its `named_objects`, with the same names as in the other process.
    data : bytes
        What `collect_results` gave there.

    Returns
    -------
    dict of str to torch.Tensor
        Lightning's ``callback_metrics``.
    """
    results = deserialize(data)

    def load(name: Any, value: bytes, use: Callable[[Any], None]) -> None:
        try:
            use(deserialize(value, objects, map_location=lambda storage, location: storage))  # onto the CPU
        except Exception as error:
            _warn(name, error)

    for name, content in results["contents"].items():
        load(name, content, functools.partial(load_object_state, objects[name]))
    for (name, key), detail in results["details"].items():
        load(f"{name}.{key}", detail, functools.partial(vars(objects[name]).__setitem__, key))
    for name, attribute in results["attributes"].items():
        load(name, attribute, functools.partial(_replace, vars(trainer), name))
    rest = deserialize(results["rest"])
    records = trainer._zae_state.records
    records.lightning_progress = rest["counts"]
    records.history.assign(rest["history"])
    vars(records.logger_connector).update(
        {key: value for key, value in rest["feed"].items() if not isinstance(value, list)}
    )
    trainer._zae_state.set_random_state(rest["random"])
    metrics: dict[str, Any] = rest["metrics"]
    return metrics


def _replace(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Set an attribute; a dict or a list stays the same object, since others may hold it."""
    old = attributes.get(name)
    if old is value:
        return
    if type(old) is type(value) and hasattr(type(old), "_zae_assign"):
        old._zae_assign(value)  # type: ignore[union-attr]
        return
    if isinstance(old, (dict, set)) and type(old) is type(value):
        old.clear()
        old.update(value)
    elif isinstance(old, (list, deque)) and type(value) is type(old):
        old.clear()
        old.extend(value)
    else:
        attributes[name] = value


def _has_content(name: str, value: Any) -> bool:
    """Whether an object's content comes home: not the trainer's, which has its attributes, nor loaders and datasets."""
    if name == "trainer" or isinstance(value, (DataLoader, Dataset)):
        return False
    return not name.startswith("loaders") or name.endswith(("sampler", "generator"))


def _tensors_of(module: torch.nn.Module) -> list[Any]:
    return [*module._parameters.values(), *module._buffers.values()]


def _warn(name: Any, error: Exception) -> None:
    """Warn of something that stays as it was before the run; small matters are left out."""
    if isinstance(name, str) and not name.startswith("loaders"):
        warnings.warn(
            f"{name} cannot be brought home from the process that ran the trainer ({type(error).__name__}: {error}). "
            f"It is as before the run.",
            stacklevel=2,
        )
