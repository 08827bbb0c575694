"""Checks: conditions before a run and after a step. Each error says what is wrong and what to do."""

from __future__ import annotations

import difflib
import inspect
import math
import operator
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer
from torch.utils.data import Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from .._errors import ContractError
from ._protocol import TrainerProtocol
from .data.loaders import length
from .distributed.parameters import held_values
from .optim import is_torch_optimizer
from .overrides import defines_attribute, is_overridden
from .utilities.argument_places import check_is_no_class
from .utilities.lightning_kinds import to_list
from .utilities.modes import Mode
from .utilities.short_names import short_name

MODES = ("train", "test")
_SET_BY_TRAINER = {
    "max_epochs": "say how many epochs in run(n_epoch, ...)",
    "accelerator": "give the trainer a device",
    "devices": "give the trainer a device, or a list of them with MultiGPUAddon",
    "num_nodes": "start the script on all nodes with torchrun or srun; their number is found",
    "callbacks": "give callbacks=[...] to the trainer, or append to trainer.callbacks",
    "logger": "give loggers=[...] to the trainer, or append to trainer.loggers",
}

NO_SHARDING = (
    "ModelParallelStrategy needs a method configure_model(self, device_mesh) on the trainer, which shards the model: "
    'call torch.distributed.fsdp.fully_shard(layer, mesh=device_mesh["data_parallel"]) for each large layer of '
    "self.model, and last for self.model."
)


def mode(value: Any) -> Mode:
    """Return a mode; raise `ValueError` unless it is "train" or "test"."""
    if value not in MODES:
        raise ValueError(f'Unexpected mode {short_name(value)}: accepted are "train" and "test".')
    return "train" if value == "train" else "test"


def epoch_means(value: Any) -> str:
    """Return what the means of epochs are over; raise `ValueError` unless it is "batches" or "samples"."""
    if value not in ("batches", "samples"):
        raise ValueError(
            f'epoch_means={value!r} is unknown: accepted are "batches", where each batch counts alike as in zae-engine '
            f'0.7.6, and "samples", where each batch counts by its size.'
        )
    return str(value)


def epoch_count(n_epoch: Any) -> int:
    """Return the number of epochs as an int; raise `TypeError` if it is no integer, `ValueError` if it is negative."""
    try:
        count = operator.index(n_epoch)
    except TypeError:
        raise TypeError(f"n_epoch={short_name(n_epoch)} is no integer; give the number of epochs, 0 or more.") from None
    if count < 0:
        raise ValueError(f"n_epoch={n_epoch!r} is negative; give the number of epochs, 0 or more.")
    return count


def loader(value: Any, name: str, n_epoch: int = 1) -> None:
    """Raise `TypeError` unless ``value`` yields batches in each of ``n_epoch`` epochs."""
    if isinstance(value, Dataset) and not hasattr(value, "batch_size"):
        raise TypeError(
            f"{name} is a dataset ({type(value).__name__}), which yields samples, not batches. "
            f"Wrap it: torch.utils.data.DataLoader({name}, batch_size=...)."
        )
    if isinstance(value, (str, bytes, Mapping, torch.Tensor, torch.nn.Module)) or not (
        hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    ):
        raise TypeError(
            f"{name} is of type {type(value).__name__}, which is no loader. "
            f"Give a torch.utils.data.DataLoader, or any object that yields batches when iterated."
        )
    if n_epoch > 1 and _is_used_up_after_one_epoch(value):
        raise TypeError(
            f"{name} is an iterator ({type(value).__name__}), which is used up after one epoch, but n_epoch={n_epoch}. "
            f"Give something that can be iterated again, list({name}) for instance."
        )


def _is_used_up_after_one_epoch(value: Any) -> bool:
    """Whether an iterator certainly yields no batches in a second epoch. An iterator of a Python class may restart."""
    if not isinstance(value, Iterator):
        return False
    is_written_in_python = inspect.isfunction(type(value).__iter__)
    return not is_written_in_python or isinstance(value, _BaseDataLoaderIter)


def extra_arguments(trainer: TrainerProtocol, method: str, kwargs: Mapping[str, Any], own: Collection[str]) -> None:
    """Raise `TypeError` for an extra argument of `run` or `run_epoch` that nobody takes.

    Parameters
    ----------
    trainer : Trainer
        The trainer; an override of ``run_batch`` or ``run_epoch`` takes any argument, the scheduler some.
    method : str
        The method, for the message.
    kwargs : mapping
        The extra arguments; the scheduler's ``step`` receives them.
    own : collection of str
        The names of the method's own arguments.
    """
    scheduler = trainer.scheduler
    if not kwargs or is_overridden(trainer, "run_batch") or is_overridden(trainer, "run_epoch"):
        return
    for name in kwargs:
        if scheduler is not None and _takes(scheduler.step, name):
            continue
        if name in _OF_THE_CONSTRUCTOR:
            hint = f"{name} belongs to the constructor: Trainer(..., {name}=...)."
        elif close := difflib.get_close_matches(name, own, n=1, cutoff=0.6):
            hint = f"Did you mean {close[0]}?"
        else:
            hint = (
                f"It takes {', '.join(own)}; others are for an overridden run_epoch or run_batch, or the scheduler's "
                f"step."
            )
        raise TypeError(f"{method}() got an unexpected argument {name!r}. {hint}")


_OF_THE_CONSTRUCTOR = (
    *(
        "callbacks",
        "device",
        "epoch_means",
        "gradient_clip",
        "lightning",
        "live_plot",
        "log_bar",
        "loggers",
        "metrics",
        "mode",
        "model",
        "monitor",
        "monitor_mode",
    ),
    *("optimizer", "scheduler", "scheduler_step_on_batch"),
)


def _takes(function: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True  # nothing is known of it
    return name in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def require_model(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the trainer was constructed without a model."""
    if trainer.model is None:
        raise ValueError("The trainer has no model (model=None). Set trainer.model before running it.")


class UnrelatedOptimizer:
    """An optimizer of parameters outside the trainer, which a step may still use.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.
    model : torch.nn.Module
        The trainer's model.
    """

    def __init__(self, optimizer: Optimizer, model: torch.nn.Module) -> None:
        self._name = type(optimizer).__name__
        self._parameters = [*model.parameters(), *_optimized_parameters(optimizer)]
        self._before = self._fingerprint()

    def _fingerprint(self) -> list[tuple[float, float]]:
        with torch.no_grad():
            return [(p.sum().item(), torch.linalg.vector_norm(p).item()) for p in self._parameters if p.numel()]

    def warn_if_nothing_changed(self) -> None:
        """Warn if no parameter of the model or of the optimizer has changed."""
        if self._fingerprint() == self._before:
            warnings.warn(
                f"The first epoch has changed no parameter: the optimizer ({self._name}) holds none of the model's "
                f"parameters, and its own have not changed either. Build it from the model that the trainer has: "
                f"{self._name}(trainer.model.parameters(), ...).",
                stacklevel=2,
            )


def unrelated_optimizer(trainer: TrainerProtocol) -> UnrelatedOptimizer | None:
    """Return a check for the end of the first epoch; None if the optimizer has parameters of the trainer."""
    return UnrelatedOptimizer(trainer.optimizer, trainer.model) if _is_unrelated(trainer) else None


def _is_unrelated(trainer: TrainerProtocol) -> bool:
    optimizer = trainer.optimizer
    if not is_torch_optimizer(optimizer) or not isinstance(trainer.model, torch.nn.Module):
        return False
    optimized = {id(p) for p in _optimized_parameters(optimizer)}
    if not optimized or any(isinstance(p, UninitializedParameter) for p in trainer.model.parameters()):
        return False
    of_model = {id(p) for p in trainer.model.parameters()}
    return bool(of_model) and not of_model & optimized and not _held_parameters(trainer) & optimized


def _optimized_parameters(optimizer: Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _held_parameters(trainer: TrainerProtocol) -> set[int]:
    """Return the ids of the parameters of all modules in a trainer's attributes, and of the tensors there."""
    found = set()
    for value in held_values(trainer):
        if isinstance(value, torch.nn.Module):
            found |= {id(parameter) for parameter in value.parameters()}
        elif isinstance(value, torch.Tensor):
            found.add(id(value))
    return found


def lightning_arguments(value: Any) -> dict[str, Any]:
    """Return a new dict of arguments for ``L.Trainer`` (None means no arguments).

    Raises
    ------
    TypeError
        If ``value`` is not a dict with names as keys.
    ValueError
        If the trainer itself sets one of the arguments.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(
            f"lightning={value!r} is no dict of arguments for lightning.Trainer, such as "
            f'{{"precision": "bf16-mixed", "accumulate_grad_batches": 4}}.'
        )
    for name, instead in _SET_BY_TRAINER.items():
        if name in value:
            raise ValueError(f'lightning={{"{name}": ...}} is decided by the trainer. Instead, {instead}.')
    return dict(value)


def parts(own: Any, given: Any, kind: str) -> Any:
    """Return a list of callbacks or loggers, followed by the user's argument: one object, or several.

    Raises
    ------
    TypeError
        If the argument contains something else, or ``own`` is not a list.
    """
    if given is None:
        return own
    given = to_list(given, kind)
    if not isinstance(own, list):
        raise TypeError(f"The subclass has {own!r} in place of the list of {kind}s.")
    return own + given


def lightning_objects(trainer: TrainerProtocol) -> None:
    """Replace the containers that the user has set as ``callbacks`` and ``loggers`` by lists.

    A subclass that uses one of these names for something else keeps its value.

    Raises
    ------
    TypeError
        If something is no callback, or no logger. The message names it.
    """
    for name in ("callbacks", "loggers"):
        value = getattr(trainer, name)
        if value is None or (type(value) is list and not value):
            continue
        items = list(value) if isinstance(value, Iterator) else value
        try:
            objects = to_list(items, name[:-1])
        except TypeError:
            if not defines_attribute(type(trainer), name):
                raise
            objects = items
        if type(value) is not list:
            setattr(trainer, name, objects)


def has_no_lazy_parameters(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the model has uninitialized lazy parameters."""
    model = trainer.model
    lazy = [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        raise ValueError(
            f"{', '.join(lazy)} of the model have no shape yet, but several processes must begin with the same "
            f"weights. Call the model once with a batch, before the optimizer is built."
        )


def require_optimizer(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the trainer has no optimizer, `TypeError` if it is of another type."""
    optimizer = trainer.optimizer
    check_is_no_class("optimizer", optimizer, "model.parameters(), ...")
    check_is_no_class("scheduler", trainer.scheduler, "optimizer, ...")
    if optimizer is not None and not (hasattr(optimizer, "step") and hasattr(optimizer, "zero_grad")):
        raise TypeError(
            f"optimizer={short_name(optimizer)} is of type {type(optimizer).__name__}, which is no optimizer. Give one "
            f"torch.optim.Optimizer; to train with several, override run_batch."
        )
    if trainer.optimizer is None:
        raise ValueError(
            'Training needs an optimizer, but the trainer has none (optimizer=None). Give one, or use mode="test".'
        )


def scheduler_iterations(trainer: TrainerProtocol, n_epoch: int) -> None:
    """Raise `ValueError` if a scheduler that is stepped once a batch has fewer steps than the run."""
    n_batches = length(trainer.loader)
    if not trainer.scheduler_step_on_batch or n_batches is None:
        return
    if "total_iters" not in getattr(trainer.scheduler, "__dict__", {}):
        return
    accumulated = trainer._zae_state.config.trainer_kwargs.get("accumulate_grad_batches") or 1
    total_iters, needed = trainer.scheduler.total_iters, n_epoch * math.ceil(n_batches / accumulated)
    if total_iters < needed:
        raise ContractError(
            f'The "total_iters" {total_iters} of the scheduler is insufficient: with scheduler_step_on_batch=True this '
            f"run takes {needed} steps. Give the scheduler total_iters={needed} or more."
        )


def train_output(output: Any) -> Mapping[str, Any]:
    """Return what `train_step` returned, after checking its loss.

    Raises
    ------
    TypeError
        If ``output`` is not a dict, or its loss is not a tensor.
    ValueError
        If ``output`` has no "loss", or the loss has several elements or no gradient function.
    """
    step_dict: Mapping[str, Any] = step_output(output, "train_step")
    if "loss" not in step_dict:
        raise ValueError(
            f'train_step returned no "loss" (its keys are {sorted(map(str, step_dict))}). '
            f'Return a dict with the loss to minimise under "loss".'
        )
    loss = step_dict["loss"]
    if isinstance(loss, torch.Tensor):
        if loss.numel() != 1:
            raise ValueError(
                f"The loss of train_step has shape {tuple(loss.shape)}, but one element is needed. "
                f"Reduce it: loss.mean(), for instance."
            )
        if not loss.requires_grad:
            raise ValueError(
                "The loss of train_step has no gradient function, so nothing can be learnt from it. Compute it from "
                "the model's output with torch operations, without detach(), .item() or torch.no_grad()."
            )
    elif not hasattr(loss, "backward"):
        raise TypeError(
            f"The loss of train_step is of type {type(loss).__name__}, but a one-element torch.Tensor is needed."
        )
    return step_dict


def metrics(value: Any) -> Mapping[str, Any]:
    """Return what `metric_on_epoch_end` returned; an empty mapping for None, `TypeError` for other types."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"metric_on_epoch_end returned {type(value).__name__}, but a dict of names and values is needed, such as "
            f'{{"accuracy": 0.9}}.'
        )
    return value


def step_output(output: Any, name: str) -> Any:
    """Return what a step returned; raise `TypeError` unless it is a mapping."""
    if type(output) is not dict and not isinstance(output, Mapping) and not hasattr(output, "items"):
        raise TypeError(
            f"{name} returned {type(output).__name__}, but a dict is needed, such as "
            f'{{"loss": loss}}. (A missing return statement gives None.)'
        )
    return output
