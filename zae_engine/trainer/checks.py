"""What must hold before a run and after a step; each failure says what was wrong and what to do."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer
from torch.utils.data import Dataset

from .._errors import ContractError
from ._protocol import TrainerProtocol
from .distributed.parameters import held_values
from .optim import is_torch_optimizer

MODES = ("train", "test")
_SET_BY_TRAINER = {
    "max_epochs": "say how many epochs in run(n_epoch, ...)",
    "accelerator": "give the trainer a device",
    "devices": "give the trainer a device, or a list of them with MultiGPUAddon",
    "num_nodes": "start the script on all nodes with torchrun or srun; their number is found",
    "callbacks": "give callbacks=[...] beside it, or append to trainer.callbacks",
    "logger": "give loggers=[...] beside it, or append to trainer.loggers",
}


def mode(value: Any) -> str:
    """Return the mode if it is "train" or "test", else raise `ValueError`."""
    if value not in MODES:
        raise ValueError(f'Unexpected mode {value!r}: accepted are "train" and "test".')
    return str(value)


def epoch_count(n_epoch: Any) -> int:
    """Return the number of epochs as an int; `TypeError` if it is no integer, `ValueError` if negative."""
    try:
        count = operator.index(n_epoch)
    except TypeError:
        raise TypeError(f"n_epoch={n_epoch!r} is no integer; give the number of epochs, 0 or more.") from None
    if count < 0:
        raise ValueError(f"n_epoch={n_epoch!r} is negative; give the number of epochs, 0 or more.")
    return count


def loader(value: Any, name: str, n_epoch: int = 1) -> None:
    """Raise `TypeError` unless ``value`` yields batches, as often as there are epochs."""
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
    if isinstance(value, Iterator) and n_epoch > 1:
        raise TypeError(
            f"{name} is an iterator ({type(value).__name__}), which is used up after one epoch, but n_epoch={n_epoch}. "
            f"Give something that can be iterated again, list({name}) for instance."
        )


def require_model(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the trainer was constructed without a model."""
    if trainer.model is None:
        raise ValueError("The trainer has no model (model=None). Set trainer.model before running it.")


def check_trainable(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the optimizer or the scheduler can be seen to have no effect on anything here."""
    optimizer, scheduler = trainer.optimizer, trainer.scheduler
    if is_torch_optimizer(optimizer) and isinstance(trainer.model, torch.nn.Module):
        held, own = _held(optimizer), {id(p) for p in trainer.model.parameters()}
        if own and not own & held and not _others(trainer) & held:
            raise ValueError(
                f"The optimizer ({type(optimizer).__name__}) holds none of the model's parameters, so training would "
                f"change nothing. Build it from the model that the trainer has: "
                f"{type(optimizer).__name__}(trainer.model.parameters(), ...)."
            )
    bound: Any = getattr(scheduler, "optimizer", None)
    if is_torch_optimizer(bound) and is_torch_optimizer(optimizer) and bound is not optimizer:
        known = any(value is bound for value in [*vars(trainer).values(), *vars(optimizer).values()])
        if not known and not _held(bound) & _held(optimizer):
            raise ValueError(
                f"The scheduler ({type(scheduler).__name__}) is bound to another optimizer ({type(bound).__name__}) "
                f"than the trainer's ({type(optimizer).__name__}), so it would change nothing. Build it from the "
                f"trainer's."
            )


def _held(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _others(trainer: TrainerProtocol) -> set[int]:
    """Return the parameters that a trainer holds beside its model: of other modules, and tensors by themselves."""
    found = set()
    for value in held_values(trainer):
        if isinstance(value, torch.nn.Module):
            found |= {id(parameter) for parameter in value.parameters()}
        elif isinstance(value, torch.Tensor):
            found.add(id(value))
    return found


def lightning_arguments(value: Any) -> dict[str, Any]:
    """Return arguments for ``L.Trainer`` as a dict of their own (None: no arguments), else raise `TypeError`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(
            f"lightning={value!r} is no dict of arguments for lightning.Trainer, such as "
            f'{{"strategy": "fsdp", "accumulate_grad_batches": 4}}.'
        )
    for name, instead in _SET_BY_TRAINER.items():
        if name in value:
            raise ValueError(f'lightning={{"{name}": ...}} is decided by the trainer. Instead, {instead}.')
    return dict(value)


def parts(own: Any, given: Any) -> Any:
    """Return a list of Lightning's parts with those that the user has given, one or several, at its end."""
    if given is None:
        return own
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    wrong = [part for part in given if isinstance(part, type)]
    if wrong:
        raise TypeError(f"{wrong[0].__name__} is a class; give an instance of it, {wrong[0].__name__}(...).")
    if not isinstance(own, list):
        raise TypeError(f"The subclass has {own!r} in place of the list that Lightning's parts are appended to.")
    return own + given


def has_no_lazy_parameters(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if the model has parameters that only a first batch gives a shape."""
    model = trainer.model
    lazy = [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        raise ValueError(
            f"{', '.join(lazy)} of the model have no shape yet, but several processes must begin with the same "
            f"weights. Call the model once with a batch, before the optimizer is built."
        )


def require_optimizer(trainer: TrainerProtocol) -> None:
    """Raise `ValueError` if there is no optimizer to train with, `TypeError` if it is none."""
    optimizer = trainer.optimizer
    if optimizer is not None and not (hasattr(optimizer, "step") and hasattr(optimizer, "zero_grad")):
        raise TypeError(
            f"optimizer={optimizer!r} is of type {type(optimizer).__name__}, which is no optimizer. Give one "
            f"torch.optim.Optimizer; to train with several, override run_batch."
        )
    if trainer.optimizer is None:
        raise ValueError(
            'Training needs an optimizer, but the trainer has none (optimizer=None). Give one, or use mode="test".'
        )


def enough_iterations(total_iters: int, needed: int) -> None:
    """Raise `ValueError` if a scheduler that is stepped per batch ends before the run does."""
    if total_iters < needed:
        raise ContractError(
            f'The "total_iters" {total_iters} of the scheduler is insufficient: with scheduler_step_on_batch=True this '
            f"run takes {needed} steps. Give the scheduler total_iters={needed} or more."
        )


def train_output(output: Any) -> Mapping[str, Any]:
    """Return what `train_step` returned if it can be trained on.

    Raises
    ------
    TypeError
        If it is no dict, or its loss is no tensor.
    ValueError
        If it has no "loss", or the loss has several elements or no gradient.
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
    """Return what `metric_on_epoch_end` returned as a mapping (None: nothing), else raise `TypeError`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"metric_on_epoch_end returned {type(value).__name__}, but a dict of names and values is needed, such as "
            f'{{"accuracy": 0.9}}.'
        )
    return value


def step_output(output: Any, name: str) -> Any:
    """Return what a step returned if it is a mapping, else raise `TypeError`."""
    if not isinstance(output, Mapping) and not hasattr(output, "items"):
        raise TypeError(
            f"{name} returned {type(output).__name__}, but a dict is needed, such as "
            f'{{"loss": loss}}. (A missing return statement gives None.)'
        )
    return output
