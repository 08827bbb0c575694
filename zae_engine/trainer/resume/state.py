"""What a trainer is besides its model, optimizer and scheduler: taken as plain values, and put back."""

from __future__ import annotations

import importlib
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .. import steps, weights
from ..history import MODES, History
from ..ranks import randomness
from ..series import Series
from . import generators
from .plain import decode, encode

if TYPE_CHECKING:
    from .._trainer import Trainer

FORMAT = 1
_PRESENT = "those of the model"
_OF_THE_TRAINER = ("optimizer_states", "lr_schedulers", "loops", "zae_engine")  # of a checkpoint of Lightning's


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Return progress, best loss and weights, history, random states, callbacks and all else that a run goes on with.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    dict
        Plain values, see `plain.encode`, for `restore`.
    """
    state, progress = trainer._zae_state, trainer.progress_checker
    ending, waiting = state.ending, state.to_resume or {}
    random = ending["random"] if ending is not None else random_states(trainer, alone=True)
    if ending is None and len(waiting.get("random") or ()) > 1:  # of ranks that have not begun
        random = waiting["random"]
    underway = state.underway() if state.underway is not None else waiting.get("underway")
    return {
        "format": FORMAT,
        "progress": {"step": progress.get_step(), "epoch": progress.get_epoch()},
        "counts": _lightning().counts_now(trainer) if trainer.lightning_trainer is not None else dict(state.counts),
        "best": _best(trainer, is_present=ending is not None and ending.get("better") is True),
        "history": _history(state.history),
        "results": encode(
            {mode: _plain_parts(getattr(trainer, f"{mode}_metrics"), f"{mode}_metrics") for mode in MODES}
        ),
        "random": encode(random),
        "generators": waiting.get("generators") or generators.take(trainer.loader, trainer.valid_loader),
        "scaler": encode(state.autocast.scaler.state_dict()) if state.autocast.scaler is not None else None,
        "feed": state.feed.state(),
        "ending": None if ending is None else _plain_ending(ending),
        "underway": underway,
        "saved_loss": getattr(trainer, "saved_loss", None),
    }


def restore(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    """Make a trainer what it was when `state_of` was called; its epoch is finished if that was at the end of one.

    Parameters
    ----------
    trainer : Trainer
        The trainer; model, optimizer and scheduler have been loaded.
    saved : mapping
        What `state_of` returned.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is something else.
    """
    if saved["format"] != FORMAT:
        raise ValueError(f"its format is {saved['format']!r}, but {FORMAT} is expected")
    state = trainer._zae_state
    progress = {key: int(saved["progress"][key]) for key in ("step", "epoch")}
    counts = {str(key): int(value) for key, value in saved["counts"].items()}
    loss, epoch, best = float(saved["best"]["loss"]), saved["best"]["epoch"], saved["best"]["weights"]
    history, random, results = _history_from(saved["history"]), decode(saved["random"]), decode(saved["results"])
    ending = decode(saved["ending"])

    randomness.set_random_state(random[0])
    trainer.progress_checker.load_state_dict(progress)
    state.counts = counts
    trainer.loss_buffer = loss
    trainer.weight_buffer.clear()
    if epoch is not None:
        trainer.weight_buffer["epoch"] = [int(epoch)]
        trainer.weight_buffer["weight"] = [weights.copy_of(trainer.model) if best == _PRESENT else _weights_from(best)]
    state.history.adopt(history)
    for mode in MODES:
        metrics = getattr(trainer, f"{mode}_metrics")
        metrics.clear()
        metrics.update(results[mode])
    if saved["scaler"] is not None and state.autocast.scaler is not None:
        state.autocast.scaler.load_state_dict(decode(saved["scaler"]))
    state.feed.load(saved["feed"])
    if hasattr(trainer, "saved_loss"):  # StateManagerAddon's
        trainer.saved_loss = saved["saved_loss"]
    state.ending = None
    state.to_resume = {"random": random, "generators": saved["generators"], "underway": saved["underway"]}
    if ending is not None:
        if ending["better"] is None:
            ending["better"] = bool(trainer.check_better(cur_epoch=progress["epoch"] - 1, cur_loss=ending["loss"]))
        with warnings.catch_warnings():  # the optimizer's steps were taken by another one
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step\(\)` before")
            finish_epoch(trainer, ending)


def finish_epoch(trainer: Trainer, ending: Mapping[str, Any]) -> None:
    """Do what follows `check_better`: the record of the epoch, the scheduler, the count.

    Parameters
    ----------
    trainer : Trainer
        The trainer.
    ending : mapping
        ``"record"``, what the epoch came to; ``"better"``; ``"loss"``; ``"plateau"``, whether a ``ReduceLROnPlateau``
        shall be given that loss; ``"kwargs"`` for the scheduler's step.
    """
    trainer._zae_state.history.add({**ending["record"], "best": ending["better"]})
    if not trainer.scheduler_step_on_batch:
        steps.step_scheduler(trainer, ending["loss"] if ending["plateau"] else None, ending["kwargs"])
    trainer.progress_checker.update_epoch()


def random_states(trainer: Trainer, alone: bool = False) -> list[dict[str, Any]]:
    """Return the states of the random number generators of all ranks; every rank must call this, unless ``alone``."""
    random, world = randomness.random_state(with_cuda=True), trainer._zae_state.world
    return [random] if alone or world is None else world.gather(random)


def callbacks_of(trainer: Trainer) -> dict[str, Any]:
    """Return what the trainer's callbacks would write into a checkpoint, as plain values.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    dict
        As a checkpoint of Lightning's, ``"callbacks"`` at least. The state of a callback that no file can hold costs a
        warning.
    """
    waiting = (trainer._zae_state.to_resume or {}).get("checkpoint")
    if waiting:  # the callbacks do not have it yet
        return {key: encode(value) for key, value in waiting.items() if key not in _OF_THE_TRAINER}
    if not isinstance(trainer.callbacks, list) or not trainer.callbacks:
        return {}
    checkpoint = _lightning().callback_states(trainer)
    checkpoint["callbacks"] = _plain_parts(checkpoint["callbacks"], "the state of the callback")
    plain: dict[str, Any] = encode(_plain_parts(checkpoint, "what the callbacks wrote into the checkpoint"))
    return plain


def random_state_of_rank(trainer: Trainer) -> None:
    """Give this rank the random state that it had when the state was saved, if it was saved by as many."""
    waiting, world = trainer._zae_state.to_resume, trainer._zae_state.world
    if waiting and world is not None and len(waiting.get("random") or ()) == world.size:
        randomness.set_random_state(waiting["random"][world.rank])


def resume_loaders(trainer: Trainer, loader: Any, valid_loader: Any) -> None:
    """Give the generators of loaders the states that they had when the state was saved."""
    waiting = trainer._zae_state.to_resume
    if waiting and waiting.get("generators"):
        generators.put(waiting["generators"], loader, valid_loader)


def _lightning() -> Any:
    return importlib.import_module("zae_lightning")


def _best(trainer: Trainer, is_present: bool) -> dict[str, Any]:
    buffer = trainer.weight_buffer
    saved: Any = None
    epoch = buffer["epoch"][-1] if buffer.get("epoch") else None
    best = buffer["weight"][-1] if buffer.get("weight") else None
    if is_present and best is not None:
        saved = _PRESENT
    elif best is not None:
        try:
            saved = {"state": encode(best), "metadata": encode(getattr(best, "_metadata", {}))}
        except TypeError as error:
            warnings.warn(f"The best weights are not saved: {error}.", stacklevel=2)
    return {"loss": float(trainer.loss_buffer), "epoch": None if saved is None else epoch, "weights": saved}


def _weights_from(saved: Mapping[str, Any]) -> OrderedDict[str, Any]:
    state = OrderedDict(decode(saved["state"]))
    state._metadata = decode(saved["metadata"])  # type: ignore[attr-defined]  # the versions of modules, as torch has them
    return state


def _history(history: History) -> dict[str, Any]:
    losses = {}
    for mode, series in history.losses.items():
        stacked = series.stacked()
        losses[mode] = stacked if stacked is not None else [encode(value) for value in series.window(0)]
    return {"epochs": [encode(_plain_parts(record, "a record")) for record in history], "losses": losses}


def _history_from(saved: Mapping[str, Any]) -> History:
    history = History()
    for record in decode(saved["epochs"]):
        if not isinstance(record, dict):
            raise TypeError(f"{record!r} is no record of an epoch")
        history.add(record)
    for mode in MODES:
        losses = saved["losses"][mode]
        history.losses[mode] = (
            Series.of(losses) if isinstance(losses, torch.Tensor) else Series.of(decode(list(losses)))
        )
    return history


def _plain_ending(ending: Mapping[str, Any]) -> Any:
    record, kwargs = _plain_parts(ending["record"], "a record"), _plain_parts(ending["kwargs"], "kwargs")
    return encode({**ending, "record": record, "kwargs": kwargs, "random": None})


def _plain_parts(values: Mapping[Any, Any], where: str) -> dict[Any, Any]:
    """Return the values that files can hold; the others cost a warning."""
    kept = {}
    for key, value in values.items():
        try:
            encode({key: value})
        except TypeError as error:
            warnings.warn(f"{where}[{key!r}] is not saved: {error}.", stacklevel=2)
        else:
            kept[key] = value
    return kept
