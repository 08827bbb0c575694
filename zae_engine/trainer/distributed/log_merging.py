"""Log merging: build one log from the logs of all ranks, equal to the log of a single process."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..logs.epoch_log import peek
from ..logs.value_buffer import ValueBuffer
from ..utilities.nested import leaves


@dataclass(frozen=True)
class BatchShare:
    """The share of one rank in one step.

    Attributes
    ----------
    step : int
        The number of the step in the epoch, from 0.
    weight : float
        The fraction of the step's samples on this rank; the fractions of all ranks sum to 1. A weight of 0 marks a
        padding batch, which keeps the ranks synchronised. It does not change the model's weights and is not logged.
    size : int or None
        The number of samples on this rank, if it can be determined.
    samples : float, torch.Tensor or None
        What an entry of the log counts in means over samples; None for means over batches.
    """

    step: int
    weight: float
    size: int | None = None
    samples: Any = None


class LogTracker:
    """Records for each entry of a rank's log the share of its batch, for `merge`.

    Attributes
    ----------
    share : BatchShare or None
        The share of the current batch.
    history_starts : dict of str to int
        The lengths of the loss histories at the start of the epoch, by mode.
    is_open : bool
        Whether the log of the epoch is not merged yet.
    """

    def __init__(self) -> None:
        self.share: BatchShare | None = None
        self._share_by_batch: dict[int, tuple[Callable[[], Any], BatchShare]] = {}
        self.begin()

    def begin(self, n_train: int = 0, n_test: int = 0) -> None:
        """Start an epoch, whose log is empty and whose loss histories have these lengths."""
        self.history_starts = {"train": n_train, "test": n_test}
        self.share = None
        self._batch_shares: list[BatchShare] = []
        self._entry_shares: defaultdict[Any, list[BatchShare]] = defaultdict(list)
        self.is_open = True

    def begin_batch(self, batch: Any, share: BatchShare) -> None:
        """Register the share of a batch, and make it the current share."""
        if share.step == 0:
            self._share_by_batch.clear()
        self._share_by_batch[id(batch)] = _reference(batch), share
        self._batch_shares.append(share)
        self.share = share

    def select(self, batch: Any) -> None:
        """Make the share of a registered batch the current share; batches may be prefetched."""
        part, share = self._share_by_batch.get(id(batch), (None, None))
        if part is not None and part() is _reference(batch)():  # otherwise another object has the id of a freed batch
            self.share = share

    def pause(self, cleared: bool = False) -> Any:
        """Return the state of this epoch for `resume`. ``cleared`` says that another epoch clears the log."""
        return {**vars(self), **({"_batch_shares": [], "_entry_shares": defaultdict(list)} if cleared else {})}

    def resume(self, paused: Any) -> None:
        """Continue an epoch from what `pause` returned."""
        vars(self).update(paused)

    @property
    def is_used(self) -> bool:
        """Whether the epoch has batches or entries that are not merged yet."""
        return self.is_open and bool(self._entry_shares or self._batch_shares)

    def record(self, key: Any, samples: Any = None) -> None:
        """Record that an entry of the current batch was appended to the log under ``key``, for so many samples."""
        shares = self._entry_shares[key]
        share = self.share or BatchShare(len(shares), 1.0)
        shares.append(share if samples is None else replace(share, samples=samples))

    def entries_with_shares(self, log: Mapping[Any, Sequence[Any]]) -> dict[Any, tuple[list[BatchShare], Any]]:
        """Return this rank's log with the share of each entry, for `merge`, and close the tracker.

        Tensors of one shape and dtype are stacked, which makes sending them a hundred times faster.
        """
        self.is_open = False
        entries = {}
        for key, values in peek(log).items():
            shares = self._entry_shares.get(key, [])
            if len(shares) != len(values):  # the user has written to the log without calling `logging`
                one_a_step = [BatchShare(step, 1.0) for step in range(len(values))]
                shares = self._batch_shares if len(self._batch_shares) == len(values) else one_a_step
            entries[key] = ([_with_number(share) for share in shares], _stack(values))
        return entries


def merge(ranks: Sequence[dict[Any, tuple[list[BatchShare], Any]]], training: bool) -> dict[Any, list[Any]]:
    """Return the log of all ranks.

    In training, the ranks share the samples of a step. An entry becomes the mean over the ranks, weighted by their
    samples; for loss and accuracy, this is the value of the joint batch. (A number of samples that a step returned
    counts in place of the real one.) Integers are added up. Outputs, and other
    entries with a row for each sample, are concatenated. In testing, each batch belongs to one rank, and the entries
    are ordered as the loader yields the batches.

    Parameters
    ----------
    ranks : sequence of dict
        What `LogTracker.entries_with_shares` returned on each rank.
    training : bool
        Whether the ranks shared each step.

    Returns
    -------
    dict of str to list
        One entry a step in training, one entry a batch in testing: the log that a single process writes.
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
            merged[key] = [_combine(str(key), entries) for entries in ordered]
        else:
            merged[key] = [_with_own_memory(value) for entries in ordered for _, value in entries]
    return merged


def merged_sizes(ranks: Sequence[dict[Any, tuple[list[BatchShare], Any]]], training: bool) -> dict[Any, list[float]]:
    """Return the number of samples behind each entry of the log that `merge` returns, by key.

    Parameters
    ----------
    ranks, training
        The arguments of `merge`.

    Returns
    -------
    dict of str to list of float
        Without the keys of which some entries have no number; empty for means over batches.
    """
    merged: dict[Any, list[float]] = {}
    for key in dict.fromkeys(key for entries in ranks for key in entries):
        shares = [share for entries in ranks for share in entries.get(key, ([],))[0] if share.weight]
        if any(share.samples is None for share in shares):
            continue
        shares.sort(key=lambda share: share.step)  # stable: the ranks keep their order
        if training:
            by_step: defaultdict[int, float] = defaultdict(float)
            for share in shares:
                by_step[share.step] += share.samples
            merged[key] = list(by_step.values())
        else:
            merged[key] = [share.samples for share in shares]
    return merged


def _reference(batch: Any) -> Callable[[], Any]:
    """Return a reference that tells a batch from others: a weak one to its first tensor or other object, if it can.

    Batches are lists and dicts mostly, which have no weak references. A strong one would keep the data of an epoch.
    """
    for part in leaves(batch):
        with suppress(TypeError):
            return weakref.ref(part)
    return lambda: batch


def _with_number(share: BatchShare) -> BatchShare:
    """Return a share whose samples are a number, not a tensor of a device."""
    return replace(share, samples=float(share.samples)) if isinstance(share.samples, torch.Tensor) else share


def _stack(values: ValueBuffer) -> Any:
    stacked = values.stacked()
    return values.read_from(0) if stacked is None else stacked


def _with_own_memory(value: Any) -> Any:
    """Return a copy of a tensor, which may be a view of a whole stack."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _combine(key: str, entries: list[tuple[BatchShare, Any]]) -> Any:
    """Return the value of the joint batch, or the value of the first rank where the values cannot be combined."""
    shares, values = [share for share, _ in entries], [value for _, value in entries]
    first = values[0]
    if len(values) == 1:
        return _with_own_memory(first)
    try:
        if isinstance(first, (torch.Tensor, np.ndarray)):
            if first.ndim and key != "loss" and _has_rows("output" in key, shares, [v.shape[0] for v in values]):
                return torch.cat(values) if isinstance(first, torch.Tensor) else np.concatenate(values)
            return _sum_or_mean(shares, values)
        if isinstance(first, (bool, int, float, complex, np.number, np.bool_)):
            return _sum_or_mean(shares, values)
        if isinstance(first, Mapping):
            return type(first)(
                {name: _combine(str(name), [(s, v[name]) for s, v in entries]) for name in first}  # type: ignore[call-arg]
            )
        if isinstance(first, list) and _has_rows("output" in key, shares, [len(value) for value in values]):
            return [element for value in values for element in value]
        if isinstance(first, (list, tuple)):
            columns = zip(*values, strict=True)
            elements = [_combine(key, list(zip(shares, column, strict=True))) for column in columns]
            return type(first)(*elements) if hasattr(first, "_fields") else type(first)(elements)
    except (TypeError, ValueError, KeyError, RuntimeError):  # the values differ in type or shape
        if "output" in key:
            return values  # a list of the ranks' outputs, so that none is lost
    return first


def _sum_or_mean(shares: list[BatchShare], values: list[Any]) -> Any:
    """Return the sum of integers, ``any`` of booleans, and the mean, weighted by samples, of all other numbers."""
    first = values[0]
    stacked = np.stack([np.asarray(value) for value in values]) if not isinstance(first, torch.Tensor) else None
    tensor = torch.stack(values) if stacked is None else torch.from_numpy(np.ascontiguousarray(stacked))
    if tensor.dtype == torch.bool:
        result = tensor.any(0)
    elif not (tensor.is_floating_point() or tensor.is_complex()):
        result = tensor.sum(0)
    else:
        samples = [share.samples for share in shares]
        is_counted = None not in samples and any(samples)
        weights = torch.tensor(samples if is_counted else [share.weight for share in shares], dtype=torch.float64)
        wide = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
        result = torch.tensordot((weights / weights.sum()).to(wide.dtype), wide, 1).to(tensor.dtype)
    if isinstance(first, torch.Tensor):
        return result
    return result.numpy() if isinstance(first, np.ndarray) else type(first)(result.item())


def _has_rows(is_output: bool, shares: list[BatchShare], lengths: list[int]) -> bool:
    """Whether the values have a row for each sample."""
    return is_output or all(length == share.size for length, share in zip(lengths, shares, strict=True))
