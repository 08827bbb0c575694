"""Summary: the table of a trainer that a notebook or the prompt shows."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from .._protocol import TrainerProtocol
from ..addons.compose import add_ons_of
from ..optim import learning_rate


def rows(trainer: TrainerProtocol) -> list[tuple[str, str]]:
    """Return what describes a trainer, as names and values, without what cannot be read.

    Parameters
    ----------
    trainer : Trainer
        The trainer; its constructor may not have finished.

    Returns
    -------
    list of tuple of str
        Such as ``("model", "Linear, 22 parameters")``.
    """
    found = []
    for name, describe in _ROWS.items():
        try:
            text = describe(trainer)
        except Exception:  # half constructed, or the user's own under that name
            continue
        if text:
            found.append((name, text))
    return found


def as_text(trainer: TrainerProtocol) -> str:
    """Return the table as plain text."""
    table = rows(trainer)
    width = max((len(name) for name, _ in table), default=0)
    return "\n".join([type(trainer).__name__, *(f"  {name:<{width}}  {text}" for name, text in table)])


def as_html(trainer: TrainerProtocol) -> str:
    """Return the table as HTML."""
    cell = "text-align: left; padding: 2px 12px 2px 0; vertical-align: top"
    lines = [
        f'<tr><th style="{cell}">{html.escape(name)}</th><td style="{cell}">{html.escape(text)}</td></tr>'
        for name, text in rows(trainer)
    ]
    return f"<b>{html.escape(type(trainer).__name__)}</b><table>{''.join(lines)}</table>"


def _model(trainer: TrainerProtocol) -> str:
    model = trainer.model
    if not isinstance(model, torch.nn.Module):
        return "none" if model is None else type(model).__name__
    counts: Counter[bool] = Counter()
    for parameter in model.parameters():
        if not isinstance(parameter, UninitializedParameter):
            counts[parameter.requires_grad] += parameter.numel()
    text = f"{type(model).__name__}, {counts.total():,} parameters"
    return text + (f", {counts[False]:,} of them frozen" if counts[False] else "")


def _device(trainer: TrainerProtocol) -> str:
    precision = trainer._zae_state.config.precision.name
    names = ", ".join(str(device) for device in trainer.device)
    return names + (f" ({precision})" if precision != "fp32" else "")


def _optimizer(trainer: TrainerProtocol) -> str:
    if trainer.optimizer is None:
        return "none"
    lr = learning_rate(trainer.optimizer)
    return type(trainer.optimizer).__name__ + ("" if lr is None else f", learning rate {lr:.4g}")


def _scheduler(trainer: TrainerProtocol) -> str:
    if trainer.scheduler is None:
        return ""
    return f"{type(trainer.scheduler).__name__}, per {'batch' if trainer.scheduler_step_on_batch else 'epoch'}"


def _parts(trainer: TrainerProtocol) -> str:
    names = [*_names(trainer.callbacks), *_names(trainer.loggers)]
    return ", ".join(names)


def _names(parts: Iterable[Any]) -> list[str]:
    return [type(part).__name__ for part in parts]


def _progress(trainer: TrainerProtocol) -> str:
    progress = trainer.progress_checker
    return f"{progress.get_epoch() - 1} epochs, {progress.get_step() - 1} steps, in {trainer.mode} mode"


def _last(trainer: TrainerProtocol) -> str:
    history = trainer._zae_state.records.history
    return _results(history[-1]) if len(history) else ""


def _best(trainer: TrainerProtocol) -> str:
    try:
        record = trainer._zae_state.records.history.best()
    except ValueError:
        return ""
    return f"epoch {record['epoch']}: {_results(record)}"


def _results(record: Mapping[str, Any]) -> str:
    values = {key: value for key, value in record.items() if key.startswith(("train_", "test_"))}
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items() if isinstance(value, (int, float)))


_ROWS: dict[str, Callable[[Any], str]] = {
    "model": _model,
    "device": _device,
    "optimizer": _optimizer,
    "scheduler": _scheduler,
    "add-ons": lambda trainer: ", ".join(add_ons_of(type(trainer))),
    "Lightning": _parts,
    "progress": _progress,
    "last epoch": _last,
    "best": _best,
}
