"""Making one log of the logs of all ranks: the one that a single process would have written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..logs.epoch_log import peek
from ..logs.value_buffer import ValueBuffer


@dataclass(frozen=True)
class BatchShare:
    """What a rank got of one step.

    Attributes
    ----------
    step : int
        The number of the step in the epoch, from 0.
    weight : float
        The part of the step's samples that is here; the weights of all ranks sum to 1. 0 for a batch that only keeps
        this rank in step with the others: nothing is learnt from it and it is not recorded.
    size : int or None
        The number of samples here, if known.
    """

    step: int
    weight: float
    size: int | None = None


class LogTracker:
    """Remembers for each entry of a log which step it is from, and puts the logs of all ranks together.

    In training the ranks share a step's samples, so an entry becomes the mean over the ranks, weighted by their samples
    (for loss and accuracy: what one process gets for the joint batch); integers are added up; outputs, and other
    entries with a row for each sample, are put behind each other. In testing each batch is one rank's, so the entries
    are put in the order of the loader, the very list that one process writes.
    """

    def __init__(self) -> None:
        self.share: BatchShare | None = None
        self._dealt: dict[int, BatchShare] = {}
        self.begin()

    def begin(self, n_train: int = 0, n_test: int = 0) -> None:
        """Forget the entries: the log is cleared and an epoch begins, with loss histories of these lengths."""
        self.history_starts = {"train": n_train, "test": n_test}
        self.share = None
        self._taken: list[BatchShare] = []
        self._shares: defaultdict[Any, list[BatchShare]] = defaultdict(list)
        self.is_open = True

    def begin_batch(self, batch: Any, share: BatchShare) -> None:
        """Note what a batch is of its step, and turn to it."""
        if share.step == 0:
            self._dealt.clear()
        self._dealt[id(batch)] = share
        self._taken.append(share)
        self.share = share

    def select(self, batch: Any) -> None:
        """Turn to a batch that has been dealt, maybe before others."""
        self.share = self._dealt.get(id(batch), self.share)

    def pause(self, cleared: bool = False) -> Any:
        """Return what `resume` needs to go on with this epoch after another, which may have ``cleared`` its log."""
        return {**vars(self), **({"_taken": [], "_shares": defaultdict(list)} if cleared else {})}

    def resume(self, paused: Any) -> None:
        """Go on with an epoch that was paused."""
        vars(self).update(paused)

    @property
    def is_used(self) -> bool:
        """Whether the epoch is under way."""
        return self.is_open and bool(self._shares or self._taken)

    def record(self, key: Any) -> None:
        """Note that an entry of the present batch has been appended to the log under ``key``."""
        shares = self._shares[key]
        shares.append(self.share or BatchShare(len(shares), 1.0))

    def entries_with_shares(self, log: Mapping[Any, Sequence[Any]]) -> dict[Any, tuple[list[BatchShare], Any]]:
        """Return this rank's log with the share of each entry, for `merge`; the ledger is closed.

        Values that are tensors of one kind are stacked, which makes them a hundred times faster to send.
        """
        self.is_open = False
        noted = {}
        for key, values in peek(log).items():
            shares = self._shares.get(key, [])
            if len(shares) != len(values):  # somebody has written to the log by other ways than `logging`
                own_steps = [BatchShare(step, 1.0) for step in range(len(values))]
                shares = self._taken if len(self._taken) == len(values) else own_steps
            noted[key] = (shares, _stacked(values))
        return noted


def merge(ranks: Sequence[dict[Any, tuple[list[BatchShare], Any]]], training: bool) -> dict[Any, list[Any]]:
    """Return the log of all ranks.

    Parameters
    ----------
    ranks : sequence of dict
        What `LogTracker.entries_with_shares` gave on each rank.
    training : bool
        Whether the ranks shared each step, or took turns with whole batches.

    Returns
    -------
    dict of str to list
        One entry a step for training, one a batch for testing.
    """
    merged = {}
    for key in dict.fromkeys(key for entries in ranks for key in entries):
        steps: defaultdict[int, list[tuple[BatchShare, Any]]] = defaultdict(list)
        for entries in ranks:
            for share, value in zip(*entries.get(key, ((), ())), strict=True):
                if share.weight:
                    steps[share.step].append((share, value))
        ordered = [steps[step] for step in sorted(steps)]
        if training:
            merged[key] = [_combined(str(key), entries) for entries in ordered]
        else:
            merged[key] = [_alone(value) for entries in ordered for _, value in entries]
    return merged


def _stacked(values: ValueBuffer) -> Any:
    stacked = values.stacked()
    return values.read_from(0) if stacked is None else stacked


def _alone(value: Any) -> Any:
    """Return a value that holds no memory but its own, though it has come in a stack."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _combined(key: str, entries: list[tuple[BatchShare, Any]]) -> Any:
    """Return what one process would have logged for the joint batch, as far as that can be told."""
    shares, values = [share for share, _ in entries], [value for _, value in entries]
    first = values[0]
    if len(values) == 1:
        return _alone(first)
    try:
        if isinstance(first, (torch.Tensor, np.ndarray)):
            if first.ndim and key != "loss" and _has_rows("output" in key, shares, [v.shape[0] for v in values]):
                return torch.cat(values) if isinstance(first, torch.Tensor) else np.concatenate(values)
            return _sum_or_mean(shares, values)
        if isinstance(first, (bool, int, float, complex, np.number, np.bool_)):
            return _sum_or_mean(shares, values)
        if isinstance(first, Mapping):
            return type(first)(
                {part: _combined(str(part), [(s, v[part]) for s, v in entries]) for part in first}  # type: ignore[call-arg]
            )
        if isinstance(first, list) and _has_rows("output" in key, shares, [len(value) for value in values]):
            return [element for value in values for element in value]
        if isinstance(first, (list, tuple)):
            peek = zip(*values, strict=True)
            parts = [_combined(key, list(zip(shares, column, strict=True))) for column in peek]
            return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    except (TypeError, ValueError, KeyError, RuntimeError):  # of different kinds or shapes: there is no one value
        if "output" in key:
            return values  # of each rank, so that nothing is lost
    return first


def _sum_or_mean(shares: list[BatchShare], values: list[Any]) -> Any:
    """Return the sum of integers, whether any is true of truths, and the mean of all else, weighted by samples."""
    first = values[0]
    stacked = np.stack([np.asarray(value) for value in values]) if not isinstance(first, torch.Tensor) else None
    tensor = torch.stack(values) if stacked is None else torch.from_numpy(np.ascontiguousarray(stacked))
    if tensor.dtype == torch.bool:
        result = tensor.any(0)
    elif not (tensor.is_floating_point() or tensor.is_complex()):
        result = tensor.sum(0)
    else:
        weights = torch.tensor([share.weight for share in shares], dtype=torch.float64)
        wide = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
        result = torch.tensordot((weights / weights.sum()).to(wide.dtype), wide, 1).to(tensor.dtype)
    if isinstance(first, torch.Tensor):
        return result
    return result.numpy() if isinstance(first, np.ndarray) else type(first)(result.item())


def _has_rows(is_output: bool, shares: list[BatchShare], lengths: list[int]) -> bool:
    """Whether values have a row for each sample."""
    return is_output or all(length == share.size for length, share in zip(lengths, shares, strict=True))
