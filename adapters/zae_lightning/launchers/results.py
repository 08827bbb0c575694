"""Results: the changes of a run to a trainer, collected in its process and applied to the user's trainer."""

from __future__ import annotations

import functools
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ..protocol import TrainerProtocol
from .object_paths import PROCESS_LOCAL, extra_attributes, load_object_state, object_state
from .serialization import CODE_TYPES, deserialize, serialize


def collect_results(trainer: TrainerProtocol, objects: Mapping[str, Any]) -> bytes:
    """Return the state of a trainer after a run, serialized.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer in the process that ran it.
    objects : mapping of str to object
        Its `named_objects` before the run.

    Returns
    -------
    bytes
        The input of `apply_results`.
    """
    known = {id(value): name for name, value in objects.items()}
    in_modules = {id(t) for m in objects.values() if isinstance(m, torch.nn.Module) for t in _tensors_of(m)}
    serialized: dict[str, dict[Any, bytes]] = {"states": {}, "extra_attributes": {}, "attributes": {}}

    def add(kind: str, name: Any, value: Any) -> None:
        try:
            serialized[kind][name] = serialize(value, known)
        except Exception as error:
            _warn(name, error)

    for name, known_object in objects.items():
        if _is_collected(name, known_object) and id(known_object) not in in_modules:
            if (state := object_state(known_object)) is not None:
                add("states", name, state)
            for key, value in extra_attributes(known_object).items():
                add("extra_attributes", (name, key), value)
    for name, value in vars(trainer).items():
        if name not in PROCESS_LOCAL and not isinstance(value, CODE_TYPES):
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


def apply_results(trainer: TrainerProtocol, objects: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Load the state of a trainer after a run in another process, in place.

    Parameters
    ----------
    trainer : TrainerProtocol
        The user's trainer.
    objects : mapping of str to object
        Its `named_objects`, which have the same paths as in the other process.
    data : bytes
        The result of `collect_results` in the other process.

    Returns
    -------
    dict of str to torch.Tensor
        Lightning's ``callback_metrics``.
    """
    results = deserialize(data)

    def load(name: Any, value: bytes, assign: Callable[[Any], None]) -> None:
        try:
            assign(deserialize(value, objects, map_location=lambda storage, location: storage))  # to the CPU
        except Exception as error:
            _warn(name, error)

    for name, state in results["states"].items():
        load(name, state, functools.partial(load_object_state, objects[name]))
    for (name, key), attribute in results["extra_attributes"].items():
        load(f"{name}.{key}", attribute, functools.partial(vars(objects[name]).__setitem__, key))
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
    """Set an attribute; containers and logs keep their identity, since other objects may hold them."""
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


def _is_collected(name: str, value: Any) -> bool:
    """Whether the results contain an object's state: not the trainer's own, nor those of loaders and datasets."""
    if name == "trainer" or isinstance(value, (DataLoader, Dataset)):
        return False
    return not name.startswith("loaders") or name.endswith(("sampler", "generator"))


def _tensors_of(module: torch.nn.Module) -> list[Any]:
    return [*module._parameters.values(), *module._buffers.values()]


def _warn(name: Any, error: Exception) -> None:
    """Warn of a value that keeps its state from before the run; loaders and (path, attribute) pairs get no warning."""
    if isinstance(name, str) and not name.startswith("loaders"):
        warnings.warn(
            f"{name} cannot be brought home from the process that ran the trainer ({type(error).__name__}: {error}). "
            f"It is as before the run.",
            stacklevel=2,
        )
