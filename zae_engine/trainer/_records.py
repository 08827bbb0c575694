"""What a trainer keeps of its steps and epochs: logs, loss history, metrics, the best weights."""

from __future__ import annotations

import contextlib
import math
from abc import ABC
from collections import defaultdict
from typing import Any

import torch

from . import checks, description, ranks, weights
from ._state import State
from .epoch_metrics import default_inputs, is_metric, tensors_of
from .log import Log, columns, log_of
from .means import learning_rate, mean
from .overrides import is_overridden
from .series import Series, on_cpu, snapshot


class _Losses:
    """A list of losses to whoever reads it, and a `Series` of the history as long as nobody does."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else losses_of(trainer, self._mode).entries()

    def __set__(self, trainer: Any, losses: list[Any]) -> None:
        trainer._zae_state.history.losses[self._mode] = Series(losses)


def losses_of(trainer: Any, mode: str) -> Series:
    """Return the losses of all steps in a mode, to append to or to look at."""
    losses: Series = trainer._zae_state.history.losses[mode]
    return losses


class _Offered:
    """The history, under a name that subclasses may take for something of their own."""

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else trainer._zae_state.history


class Records(ABC):
    """The part of `Trainer` that records: everything here can be called, read and overridden on the trainer."""

    history: Any = _Offered()
    loss_history_train: Any = _Losses("train")
    loss_history_test: Any = _Losses("test")

    model: Any
    optimizer: Any
    mode: str
    loggers: list[Any]
    _zae_state: State

    def __init__(self) -> None:
        self.log_train: defaultdict[str, list[Any]] = Log()
        self.log_test: defaultdict[str, list[Any]] = Log()
        self.train_metrics: dict[str, Any] = {}
        self.test_metrics: dict[str, Any] = {}
        self.loss_buffer: float = torch.inf
        self.weight_buffer: defaultdict[str, list[Any]] = defaultdict(list)

    def metric_on_epoch_end(self) -> dict[str, Any]:
        """Compute metrics from ``log_train`` or ``log_test`` at the end of an epoch; override it, or set it.

        Returns
        -------
        dict of str to float
            Goes into ``train_metrics`` or ``test_metrics``, by the mode. Empty by default.
        """
        return {}

    def logging(self, step_dict: dict[str, Any]) -> None:
        """Append what a step returned to ``log_train`` or ``log_test``, by the mode, detached and on the CPU.

        Parameters
        ----------
        step_dict : dict
            What `train_step` or `test_step` returned.
        """
        mode = checks.mode(self.mode)
        log = log_of(self, mode)
        state = self._zae_state
        if state.metrics:
            self._feed_metrics(step_dict)
        convert = self._to_cpu if is_overridden(self, "_to_cpu") else snapshot  # type: ignore[arg-type]
        kept = {}
        for key, value in step_dict.items():
            if type(value) is torch.Tensor or not is_metric(value):
                kept[key] = convert(value)
            else:
                state.metrics.note(mode, key, value)
        for key, value in kept.items():
            if isinstance(log, Log):
                log.add(key, value)
            else:  # something of the user's own
                log[key].append(on_cpu(value))
            if state.world is not None:
                state.world.ledger.note(key)
        if "loss" in kept:
            losses_of(self, mode).append(kept["loss"])
        if mode == "train":
            state.feed.train_step(self, kept)  # type: ignore[arg-type]  # self is a Trainer

    def metric_inputs(self, step_dict: dict[str, Any]) -> Any:
        """Return what the metrics given to the trainer are updated with; override it to feed them otherwise.

        Parameters
        ----------
        step_dict : dict
            What `train_step` or `test_step` returned.

        Returns
        -------
        tuple, dict or None
            Arguments for ``Metric.update``, positional or by keyword; by default ``step_dict["preds"]`` and
            ``step_dict["target"]``, or None if these are not both there: then the batch is not counted.
        """
        return default_inputs(step_dict)

    def _feed_metrics(self, step_dict: dict[str, Any]) -> None:
        world, metrics = self._zae_state.world, self._zae_state.metrics
        share = world.ledger.share if world is not None else None
        if share is not None and not share.weight:  # this batch only keeps step with other ranks
            return
        inputs = self.metric_inputs(step_dict)
        if inputs is not None:
            tensors = [value for value in tensors_of(inputs) if isinstance(value, torch.Tensor)]
            with torch.no_grad():
                metrics.feed(self.mode, inputs, tensors[0].device if tensors else torch.device("cpu"))

    def log_reset(self, epoch_end: bool = False) -> None:
        """Clear both logs, and with ``epoch_end=True`` the metrics too."""
        self.log_train.clear()
        self.log_test.clear()
        ranks.begin_logs(self)  # type: ignore[arg-type]  # self is a Trainer
        if epoch_end:
            self.train_metrics.clear()
            self.test_metrics.clear()

    def get_loss_history(self, mode: str = "train") -> list[Any]:
        """Return the loss of every step of all runs.

        Parameters
        ----------
        mode : {"train", "test"}, optional
            Whose, by default "train".

        Returns
        -------
        list of torch.Tensor
            One a step, in order.
        """
        losses: list[Any] = getattr(self, f"loss_history_{checks.mode(mode)}")
        return losses

    def plot(self, keys: Any = None, ax: Any = None) -> Any:
        """Plot the history: train and test curves, the best epoch marked, the learning rate beneath.

        Parameters
        ----------
        keys : str or list of str, optional
            What to plot, ``"loss"`` for instance; by default everything.
        ax : matplotlib.axes.Axes, or list of these, optional
            Where to draw, one for each key; by default a new figure.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        return self._zae_state.history.plot(keys, ax)

    def __repr__(self) -> str:
        """Return a table of what the trainer is and where it stands."""
        return description.as_text(self)  # type: ignore[arg-type]  # self is a Trainer

    def _repr_html_(self) -> str:
        return description.as_html(self)  # type: ignore[arg-type]  # self is a Trainer

    def print_log(self, cur_batch: int, num_batch: int) -> dict[str, str]:
        """Return what the bar shows: the batch, the learning rate, and the mean of every key that is no output.

        Parameters
        ----------
        cur_batch : int
            Number of the present batch, from 1.
        num_batch : int
            Number of batches of the epoch.

        Returns
        -------
        dict of str to str
            ``"Batch"``, ``"LR"`` and the means to six places; keys whose values are no numbers are left out. Override
            it to show something else.
        """
        log = {"Batch": f"{cur_batch}/{num_batch}", "LR": f"{learning_rate(self.optimizer):.3e}"}
        for key, values in columns(log_of(self)).items():
            if "output" not in str(key):
                with contextlib.suppress(Exception):  # whatever it is, it has no mean
                    log[str(key)] = f"{mean(values):.6f}"
        return log

    def toggle(self, mode: str | None = None) -> None:
        """Switch to ``mode``, or to the other one if None is given."""
        self.mode = checks.mode(mode) if mode else ("test" if self.mode == "train" else "train")

    # The best weights

    def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
        """Compare an epoch's loss with the best so far, and keep a copy of the weights if it is lower.

        Parameters
        ----------
        cur_epoch : int
            Index of the epoch, from 0.
        cur_loss : float
            Mean test loss of the epoch, or mean training loss without validation. One that is ``nan`` or infinite is
            never better.

        Returns
        -------
        bool
            Whether it is better.
        """
        if not (math.isfinite(cur_loss) and cur_loss < self.loss_buffer):
            return False
        self.weight_buffer["epoch"] = [cur_epoch]
        self.weight_buffer["weight"] = [weights.copy_of(self.model)]
        self.loss_buffer = cur_loss
        return True

    def save_model(self, filename: str) -> None:
        """Save the model's state dictionary with `torch.save`; of several processes, rank 0 does."""
        if ranks.is_first(self):  # type: ignore[arg-type]  # self is a Trainer
            torch.save(self.model.state_dict(), filename)

    def apply_weights(self, filename: str | None = None, strict: bool = True) -> None:
        """Load weights into the model: from a file, or the best ones of the buffer.

        As in 0.7.6, a missing file or an empty buffer is reported on stdout and changes nothing.

        Parameters
        ----------
        filename : str, optional
            A file that `save_model` wrote. It is read with ``weights_only=True``, so loading runs no code.
        strict : bool, optional
            Whether all keys must match, by default True.
        """
        weights.apply(self.model, self.weight_buffer, filename, strict)

    def _to_cpu(self, *args: Any) -> Any:
        return on_cpu(args[0]) if len(args) == 1 else tuple(self._to_cpu(value) for value in args)
