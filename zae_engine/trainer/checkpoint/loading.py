"""Loading: load the state of a trainer completely, or leave the trainer unchanged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..._warnings import ignored_warnings
from .._protocol import TrainerProtocol
from ..utilities.sharded_tensors import shard_optimizer_state
from . import weights
from .encoding import decode
from .trainer_state import load_trainer_state_dict, trainer_state_dict

PARTS = ("model", "optimizer", "scheduler")
_SHAPED_AS_PARAMETERS = frozenset(
    [
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "exp_inf",
        "momentum_buffer",
        "square_avg",
        "grad_avg",
        "acc_delta",
        "sum",
        "prev",
        "ax",
    ]
)


def load(
    trainer: TrainerProtocol, states: Mapping[str, Any], rest: Mapping[str, Any] | None, files: Mapping[str, str]
) -> None:
    """Load model, optimizer and scheduler of a trainer and the rest of its state. On an error, restore the old state.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    states : mapping of str to dict
        States of ``"model"``, ``"optimizer"`` and ``"scheduler"``, or of some of these.
    rest : mapping or None
        What `trainer_state_dict` returned; None to leave that part of the trainer unchanged.
    files : mapping of str to str
        The file of each state, and of ``"rest"``, for error messages.

    Raises
    ------
    IncompatibleStateError
        If a state does not fit. It is a `ValueError`, and a `RuntimeError` as torch's errors are. The message names
        the file.
    """
    before = {part: _cloned_state(getattr(trainer, part)) for part in states}
    records = (trainer.weight_buffer, trainer.train_metrics, trainer.test_metrics)
    records_before = [dict(record) for record in records]
    state = trainer._zae_state
    summary, pending = state.run.epoch_summary, state.records.pending_restore
    state.run.epoch_summary = None
    with ignored_warnings(""):  # it warns of values that a file cannot hold, but nothing is written here
        rest_before = None if rest is None else copy.deepcopy(trainer_state_dict(trainer))
    part = "rest"
    try:
        for part, part_state in states.items():
            _CHECKS[part](getattr(trainer, part), part_state)
            keys = _param_group_keys(getattr(trainer, part))
            if part == "model":
                part_state = weights.for_sharded_model(trainer.model, weights.names_of(trainer.model, part_state))
            elif part == "optimizer":
                part_state = shard_optimizer_state(trainer.optimizer, part_state)
            getattr(trainer, part).load_state_dict(part_state)
            if missing := keys - _param_group_keys(getattr(trainer, part)):
                raise KeyError(
                    f"its groups have no {', '.join(map(repr, sorted(missing)))}: it is of another optimizer"
                )
        part = "rest"
        if rest is not None:
            load_trainer_state_dict(trainer, rest)
            if rest.get("checkpoint"):
                pending_now = state.records.pending_restore or {}
                state.records.pending_restore = {**pending_now, "checkpoint": decode(rest["checkpoint"])}
    except Exception as error:
        for name, part_state in before.items():
            options = {"strict": False} if name == "model" else {}  # uninitialized lazy modules have no state
            getattr(trainer, name).load_state_dict(part_state, **options)
        if rest_before is not None:
            load_trainer_state_dict(trainer, rest_before)
            for record, content in zip(records, records_before, strict=True):
                record.clear()
                record.update(content)
        state.run.epoch_summary, state.records.pending_restore = summary, pending
        reason = " ".join(str(error).split())
        what = "the trainer" if part == "rest" else f"the trainer's {part}"
        raise weights.IncompatibleStateError(
            f"{files[part]!r} does not fit {what} ({type(error).__name__}: {reason[:300]}). Nothing has been loaded."
        ) from error


def _param_group_keys(part: Any) -> set[str]:
    return {key for group in part.param_groups for key in group} if isinstance(part, torch.optim.Optimizer) else set()


def _cloned_state(part: Any) -> Any:
    return weights.clone_state_dict(part) if isinstance(part, torch.nn.Module) else copy.deepcopy(part.state_dict())


def _check_model(model: Any, state: Any) -> None:
    if not isinstance(state, Mapping):
        raise TypeError(f"it holds a {type(state).__name__}, but a dict of tensors is expected")


def _check_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Raise an error for a state that torch would load but could not step with."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    ids = [number for group in state["param_groups"] for number in group["params"]]
    for number, parameter in zip(ids, parameters, strict=False):
        for key, value in state["state"].get(number, {}).items():
            has_parameter_shape = key in _SHAPED_AS_PARAMETERS and isinstance(value, torch.Tensor) and value.ndim
            if has_parameter_shape and value.shape != parameter.shape:
                raise ValueError(
                    f"{key!r} of parameter {number} has the shape {tuple(value.shape)}, but the parameter "
                    f"{tuple(parameter.shape)}"
                )
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=False):
        _check_numbers(group, saved)


def _check_scheduler(scheduler: Any, state: Mapping[str, Any]) -> None:
    """Raise an error for a state that would break the scheduler; torch sets every attribute that a state names."""
    own = scheduler.state_dict()
    for key, value in state.items():
        is_class_attribute = key == "optimizer" or (key not in own and hasattr(type(scheduler), str(key)))
        if not isinstance(key, str) or is_class_attribute:
            raise ValueError(f"it sets {key!r}, which is no state")
        if key == "schedulers" or key not in own:
            continue
        if isinstance(own[key], list) and not isinstance(value, (list, tuple)):
            raise TypeError(f"{key!r} is a {type(value).__name__}, but a list is expected")
    names = {key for key in state if not str(key).startswith("_")} - {"verbose"}  # old versions of torch have it
    missing = {key for key in own if not key.startswith("_")} - names
    if "last_epoch" in missing or (missing and names - own.keys()):
        raise KeyError(f"there is no {', '.join(map(repr, sorted(missing)))} in it: it is of another scheduler")
    _check_numbers(own, state)


def _check_numbers(own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    for key, value in own.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and key in state and not isinstance(state[key], (int, float, torch.Tensor)):
            raise TypeError(f"{key!r} is a {type(state[key]).__name__}, but a number is expected")


_CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "model": _check_model,
    "optimizer": _check_optimizer,
    "scheduler": _check_scheduler,
}
