"""Trainer state: all of a trainer besides its model, optimizer and scheduler, as plain values and back."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from ..._warnings import ignored_warnings
from .._protocol import TrainerProtocol
from ..epoch_summary import EpochSummary, record_epoch
from ..history import MODES, History
from ..logs.value_buffer import ValueBuffer
from ..optim import has_modes
from ..utilities import rng
from ..utilities.import_guard import guarded_import
from . import generators, weights
from .best import adopt_best, check_epoch
from .encoding import decode, encode

FORMAT = 1
_SAME_AS_MODEL = "those of the model"
"""In place of the best weights, where they equal the model's weights; part of the format on disk."""
_TRAINER_KEYS = ("optimizer_states", "lr_schedulers", "loops", "zae_engine")
"""The keys of a Lightning checkpoint that the trainer restores, not its callbacks."""


def trainer_state_dict(trainer: TrainerProtocol) -> dict[str, Any]:
    """Return progress, best loss and weights, history, random states, and all else that a run resumes from.

    The keys are a format on disk.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    dict
        Plain values, see `encode`, for `load_trainer_state_dict`.
    """
    records, run, progress = trainer._zae_state.records, trainer._zae_state.run, trainer.progress_checker
    summary, pending = run.epoch_summary, records.pending_restore or {}
    scaler = trainer._zae_state.config.precision.scaler
    swaps = has_modes(trainer.optimizer)  # such an optimizer computes the weights to evaluate again, with other errors
    random = summary.random if summary is not None else random_states(trainer, alone=True)
    if summary is None and len(pending.get("random") or ()) > 1:  # of ranks that have not started
        random = pending["random"]
    return {
        "format": FORMAT,
        "progress": {"step": progress.get_step(), "epoch": progress.get_epoch()},
        "counts": _lightning_progress(trainer),
        "best": _best(trainer, is_current=summary is not None and summary.better is True and not swaps),
        "monitor": {"name": trainer._zae_state.config.monitor.name, "mode": trainer._zae_state.config.monitor.mode},
        "history": _encode_history(records.history),
        "results": encode({mode: _encodable(getattr(trainer, f"{mode}_metrics"), f"{mode}_metrics") for mode in MODES}),
        "random": encode(random),
        "generators": pending.get("generators") or generators.generator_states(trainer.loader, trainer.valid_loader),
        "scaler": encode(scaler.state_dict()) if scaler is not None else None,
        "feed": records.logger_connector.state_dict(),
        "ending": None if summary is None else _encode_summary(summary),
        "underway": run.mid_epoch_state() if run.mid_epoch_state is not None else pending.get("underway"),
        "saved_loss": getattr(trainer, "saved_loss", None),
    }


def load_trainer_state_dict(trainer: TrainerProtocol, saved: Mapping[str, Any]) -> None:
    """Restore what `trainer_state_dict` returned; a state from the end of an epoch finishes that epoch.

    Parameters
    ----------
    trainer : Trainer
        The trainer; model, optimizer and scheduler are loaded already.
    saved : mapping
        What `trainer_state_dict` returned.

    Raises
    ------
    ValueError, TypeError, KeyError
        If ``saved`` is something else.
    """
    if saved["format"] != FORMAT:
        raise ValueError(f"its format is {saved['format']!r}, but {FORMAT} is expected")
    records = trainer._zae_state.records
    progress = {key: int(saved["progress"][key]) for key in ("step", "epoch")}
    lightning_progress = {str(key): int(value) for key, value in saved["counts"].items()}
    loss, epoch, best = float(saved["best"]["loss"]), saved["best"]["epoch"], saved["best"]["weights"]
    history, random, results = _decode_history(saved["history"]), decode(saved["random"]), decode(saved["results"])
    ending = decode(saved["ending"])
    summary = None if ending is None else EpochSummary(**ending)
    best_value = adopt_best(trainer, loss, saved.get("monitor"))

    rng.set_random_state(random[0])
    trainer.progress_checker.load_state_dict(progress)
    records.lightning_progress = lightning_progress
    trainer.loss_buffer = best_value
    trainer.weight_buffer.clear()
    if epoch is not None:
        weight = weights.clone_state_dict(trainer.model) if best == _SAME_AS_MODEL else _decode_weights(best)
        trainer.weight_buffer["epoch"] = [int(epoch)]
        trainer.weight_buffer["weight"] = [weights.for_sharded_model(trainer.model, weight)]
    records.history.assign(history)
    for mode in MODES:
        metrics = getattr(trainer, f"{mode}_metrics")
        metrics.clear()
        metrics.update(results[mode])
    scaler = trainer._zae_state.config.precision.scaler
    if saved["scaler"] is not None and scaler is not None:
        scaler.load_state_dict(decode(saved["scaler"]))
    records.logger_connector.load_state_dict(saved["feed"])
    if hasattr(trainer, "saved_loss"):  # StateManagerAddon's
        trainer.saved_loss = saved["saved_loss"] if best_value == loss else None
    trainer._zae_state.run.epoch_summary = None
    records.pending_restore = {"random": random, "generators": saved["generators"], "underway": saved["underway"]}
    if summary is not None:
        if summary.better is None:
            summary.better = check_epoch(trainer, progress["epoch"] - 1, summary)
        # The steps of the loaded optimizer were taken by another object.
        with ignored_warnings(r"Detected call of `lr_scheduler\.step\(\)` before"):
            scheduler = None if trainer.scheduler_step_on_batch else trainer.scheduler
            monitor = trainer._zae_state.config.monitor
            record_epoch(summary, records.history, scheduler, trainer.progress_checker, monitor)


def random_states(trainer: TrainerProtocol, alone: bool = False) -> list[dict[str, Any]]:
    """Return the random states of all ranks, or of this process if ``alone``. Otherwise every rank must call this."""
    random, world = rng.random_state(with_cuda=True), trainer._zae_state.process.world
    return [random] if alone or world is None else world.gather(random)


def callback_states(trainer: TrainerProtocol, current: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the trainer's callbacks write into a checkpoint, as plain values.

    Parameters
    ----------
    trainer : Trainer
        The trainer.

    Returns
    -------
    dict
        Part of a Lightning checkpoint, ``"callbacks"`` at least. It is empty without callbacks. A callback's state that
        a file cannot hold is left out, with a warning.
    """
    pending = (trainer._zae_state.records.pending_restore or {}).get("checkpoint")
    if pending:  # no run has restored the callbacks since the state was loaded
        return {key: encode(value) for key, value in pending.items() if key not in _TRAINER_KEYS}
    if not isinstance(trainer.callbacks, list) or not trainer.callbacks:
        return {}
    with guarded_import("zae_lightning"):
        import zae_lightning

    checkpoint = zae_lightning.callback_states(trainer, current)
    checkpoint["callbacks"] = _encodable(checkpoint["callbacks"], "the state of the callback")
    plain: dict[str, Any] = encode(_encodable(checkpoint, "what the callbacks wrote into the checkpoint"))
    return plain


def set_random_state_of_rank(trainer: TrainerProtocol) -> None:
    """Restore the random state of this rank, if as many ranks saved the loaded state."""
    pending, world = trainer._zae_state.records.pending_restore, trainer._zae_state.process.world
    if pending and world is not None and len(pending.get("random") or ()) == world.size:
        rng.set_random_state(pending["random"][world.rank])


def resume_loaders(trainer: TrainerProtocol, loader: Any, valid_loader: Any) -> None:
    """Restore the generators of the loaders from the loaded state."""
    pending = trainer._zae_state.records.pending_restore
    if pending and pending.get("generators"):
        generators.set_generator_states(pending["generators"], loader, valid_loader)


def _lightning_progress(trainer: TrainerProtocol) -> dict[str, int]:
    if trainer.lightning_trainer is None:
        return dict(trainer._zae_state.records.lightning_progress)
    with guarded_import("zae_lightning"):
        import zae_lightning

    return zae_lightning.current_progress(trainer)


def _best(trainer: TrainerProtocol, is_current: bool) -> dict[str, Any]:
    buffer = trainer.weight_buffer
    saved: Any = None
    epoch = buffer["epoch"][-1] if buffer.get("epoch") else None
    best = buffer["weight"][-1] if buffer.get("weight") else None
    if is_current and best is not None:
        saved = _SAME_AS_MODEL
    elif best is not None:
        try:
            saved = {"state": encode(best), "metadata": encode(getattr(best, "_metadata", {}))}
        except TypeError as error:
            warnings.warn(f"The best weights are not saved: {error}.", stacklevel=2)
    return {"loss": float(trainer.loss_buffer), "epoch": None if saved is None else epoch, "weights": saved}


def _decode_weights(saved: Mapping[str, Any]) -> OrderedDict[str, Any]:
    state = OrderedDict(decode(saved["state"]))
    state._metadata = decode(saved["metadata"])  # type: ignore[attr-defined]  # torch stores the modules' versions there
    return state


def _encode_history(history: History) -> dict[str, Any]:
    losses = {}
    for mode, values in history.losses.items():
        stacked = values.stacked()
        losses[mode] = stacked if stacked is not None else [encode(value) for value in values.read_from(0)]
    return {"epochs": [encode(_encodable(record, "a record")) for record in history], "losses": losses}


def _decode_history(saved: Mapping[str, Any]) -> History:
    history = History()
    for record in decode(saved["epochs"]):
        if not isinstance(record, dict):
            raise TypeError(f"{record!r} is no record of an epoch")
        history.add(record)
    for mode in MODES:
        losses = saved["losses"][mode]
        history.losses[mode] = (
            ValueBuffer.of(losses) if isinstance(losses, torch.Tensor) else ValueBuffer.of(decode(list(losses)))
        )
    return history


def _encode_summary(summary: EpochSummary) -> Any:
    record, kwargs = _encodable(summary.record, "a record"), _encodable(summary.kwargs, "kwargs")
    return encode({**vars(summary), "record": record, "kwargs": kwargs, "random": None})


def _encodable(values: Mapping[Any, Any], where: str) -> dict[Any, Any]:
    """Return the values that a file can hold, and warn of each other value."""
    kept = {}
    for key, value in values.items():
        try:
            encode({key: value})
        except TypeError as error:
            warnings.warn(f"{where}[{key!r}] is not saved: {error}.", stacklevel=2)
        else:
            kept[key] = value
    return kept
