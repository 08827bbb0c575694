"""Learning rate finder: a range test on a copy of the trainer, and the curve that it gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from .. import checks
from .._protocol import TrainerProtocol
from ..checkpoint.generators import generator_states, set_generator_states
from ..logs.epoch_log import peek
from ..plotting import new_figure
from ..utilities.rng import random_state, set_random_state
from ..utilities.sharded_tensors import is_sharded_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 10  # steps: with fewer, a curve cannot be told from noise


@dataclass(frozen=True, repr=False)
class LearningRateCurve:
    """The losses of a range test, by learning rate.

    Attributes
    ----------
    rates : list of float
        The learning rate of each step, of the optimizer's first parameter group.
    losses : list of float
        The training loss of each step; the test ends where the loss explodes.
    suggestion : float or None
        The rate at which the smoothed loss falls fastest; None where it does not fall.
    reason : str or None
        Why there is no suggestion.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float | None
    reason: str | None

    def plot(self, ax: Any = None) -> Figure:
        """Plot the losses over the rates, smoothed too, and mark the suggestion.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw on; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        figure, axis = (ax.figure, ax) if ax is not None else _panel()
        losses = np.asarray(self.losses, dtype=float)
        axis.plot(self.rates, losses, color="#1f77b4", alpha=0.3, linewidth=1.0, label="loss of each step")
        axis.plot(self.rates, _smooth(losses), color="#1f77b4", linewidth=1.8, label="smoothed")
        if self.suggestion is not None:
            axis.axvline(self.suggestion, color="#d95f02", linestyle="--", label=f"suggestion: {self.suggestion:.2g}")
        else:
            axis.set_title(f"no suggestion: {self.reason}", fontsize="small", wrap=True)
        finite = losses[np.isfinite(losses)]
        if len(finite) > 1:
            low, high = float(finite.min()), float(np.median(finite[: max(len(finite) // 10, 3)]))
            margin = max(high - low, 0.05 * abs(high), 1e-12)
            axis.set_ylim(low - 0.25 * margin, high + 1.5 * margin)  # what explodes leaves the panel
        axis.set_xscale("log")
        axis.set_xlabel("learning rate")
        axis.set_ylabel("loss")
        axis.grid(True, alpha=0.25)
        axis.legend(frameon=False, fontsize="small")
        found: Figure = figure
        return found

    def __repr__(self) -> str:
        steps = f"{len(self.rates)} steps" + (
            f", rates {self.rates[0]:.2g} to {self.rates[-1]:.2g}" if self.rates else ""
        )
        found = f"no suggestion: {self.reason}" if self.suggestion is None else f"suggestion {self.suggestion:.2g}"
        return f"LearningRateCurve({found}; {steps})"


def _panel() -> tuple[Any, Any]:
    figure, axes = new_figure([3.0])
    return figure, axes[0]


def find_learning_rate(
    trainer: TrainerProtocol, loader: Any, min_lr: float, max_lr: float, steps: int
) -> LearningRateCurve:
    """Train a copy of the trainer with a growing rate; see `Trainer.lr_find`."""
    rates = _rates(min_lr, max_lr, steps)
    checks.require_model(trainer)
    checks.require_optimizer(trainer)
    checks.loader(loader, "loader", 1)
    if hasattr(loader, "__next__"):
        raise TypeError(
            f"lr_find reads the loader from its start, and {type(loader).__name__} gives its batches once only. Give "
            f"something that starts again with each iter(loader), such as a DataLoader or a list."
        )
    random, generators = random_state(with_cuda=True), generator_states(loader, None)
    try:
        losses = _train_with_growing_rate(_copy(trainer, loader), loader, rates)
    finally:
        set_random_state(random)
        set_generator_states(generators, loader, None)
    return LearningRateCurve(rates[: len(losses)], losses, *_suggestion(rates, losses))


def _rates(min_lr: float, max_lr: float, steps: int) -> list[float]:
    if not 0.0 < min_lr < max_lr or not math.isfinite(max_lr):
        raise ValueError(f"min_lr={min_lr!r}, max_lr={max_lr!r}: needed are 0 < min_lr < max_lr, both finite.")
    if not isinstance(steps, int) or steps < _FEWEST:
        raise ValueError(f"steps={steps!r}: an int of at least {_FEWEST} is needed; 100 is usual.")
    return [float(rate) for rate in np.geomspace(min_lr, max_lr, steps)]


def _copy(trainer: TrainerProtocol, loader: Any) -> TrainerProtocol:
    """Return a copy of a trainer that has no callbacks, loggers and scheduler; data is shared, not copied."""
    if is_sharded_module(trainer.model):
        raise ValueError(
            "lr_find trains a copy of the trainer, but torch cannot copy a sharded model. Call lr_find before the "
            "first run, which shards the model, or in one process with a smaller model."
        )
    shared = [value for value in vars(trainer).values() if isinstance(value, (DataLoader, Dataset))]
    memo: dict[int, Any] = {id(value): value for value in (*shared, loader, trainer.loader, trainer.valid_loader)}
    for parts in (trainer.callbacks, trainer.loggers):
        if isinstance(parts, list):
            memo[id(parts)] = []
    memo[id(trainer.weight_buffer)] = type(trainer.weight_buffer)(list)
    if trainer.scheduler is not None:
        memo[id(trainer.scheduler)] = None
    try:
        copied = copy.deepcopy(trainer, memo)
    except Exception as error:
        raise TypeError(
            f"lr_find trains a copy of the trainer, which cannot be copied ({type(error).__name__}: {error}). Keep "
            f"what cannot be copied outside of the trainer."
        ) from error
    copied.scheduler, copied.scheduler_step_on_batch, copied.log_bar = None, False, False
    copied._zae_state.config.callback_factories = []
    copied.toggle("train")
    copied.log_reset()
    return copied


def _train_with_growing_rate(trainer: TrainerProtocol, loader: Any, rates: list[float]) -> list[float]:
    """Return the loss of each step, until it explodes or the rates end."""
    groups = trainer.optimizer.param_groups
    first = groups[0].get("lr")
    shares = [float(group["lr"]) / float(first) if first else 1.0 for group in groups]
    losses: list[float] = []
    with torch.enable_grad():
        for rate, batch in zip(rates, _cycle(loader), strict=False):
            for group, share in zip(groups, shares, strict=True):
                group["lr"] = rate * share
            losses.append(_loss_of(trainer, batch))
            if _has_exploded(losses):
                break
    return losses


def _cycle(loader: Any) -> Iterator[Any]:
    while True:
        is_empty = True
        for batch in loader:
            if batch is not None:
                is_empty = False
                yield batch
        if is_empty:
            raise ValueError("lr_find needs batches, but the loader gives none.")


def _loss_of(trainer: TrainerProtocol, batch: Any) -> float:
    trainer.run_batch(batch)
    values = peek(trainer.log_train).get("loss")
    if not values:
        raise ValueError(
            'lr_find reads the "loss" that the steps log, and there is none: a run_batch of your own ends with '
            'self.logging({"loss": loss, ...}).'
        )
    loss = float(values.read_from(len(values) - 1)[0])
    trainer.log_reset()
    return loss


def _has_exploded(losses: list[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    if len(losses) < _FEWEST:
        return False
    start, lowest = float(np.median(losses[:3])), min(losses)
    return float(np.mean(losses[-3:])) > lowest + 4.0 * max(start - lowest, 0.25 * abs(start))


def _smooth(losses: Any) -> Any:
    """Return the centred moving average of losses."""
    width = _width(losses)
    weights = np.ones(width)
    sums = np.convolve(losses, weights, mode="same")
    return sums / np.convolve(np.ones(len(losses)), weights, mode="same")


def _width(losses: Any) -> int:
    """Return over how many losses the average is taken: an odd number, about a twelfth of them."""
    return max(len(losses) // 12, 1) | 1


def _suggestion(rates: list[float], losses: list[float]) -> tuple[float | None, str | None]:
    """Return the rate at which the loss falls fastest, or why there is none."""
    finite = np.asarray(losses if not losses or math.isfinite(losses[-1]) else losses[:-1])
    if len(finite) < _FEWEST:
        last = rates[len(losses) - 1]
        return None, f"the loss was no number after {len(finite)} steps, at a rate of {last:.2g}; try a lower min_lr"
    smoothed = _smooth(finite)
    lowest = int(np.argmin(smoothed))
    noise = 1.5 * float(np.median(np.abs(np.diff(finite)))) / math.sqrt(2.0 * _width(finite))  # of the smoothed losses
    start = float(np.median(smoothed[: max(len(finite) // 10, 3)]))
    drop = start - float(smoothed[lowest])
    if drop <= max(4.0 * noise, 0.03 * abs(start)):
        return None, f"the loss does not fall: it begins at {start:.4g}, and {smoothed[lowest]:.4g} is its lowest"
    slopes = np.gradient(smoothed, np.log10(rates[: len(finite)]))
    return rates[int(np.argmin(slopes[: lowest + 1]))], None
