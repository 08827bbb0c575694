"""Dealing out the batches of a loader to the ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, default_collate

from ..data.loaders import length
from ..utilities.rng import random_state, set_random_state
from .log_merging import BatchShare

if TYPE_CHECKING:
    from .world import World

_EPOCHS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""What samplers were told last."""


class ShardedLoader:
    """A rank's part of a loader: every batch goes to one rank, none to two.

    A step takes as many batches from the loader as there are ranks, in the loader's own order, whatever its sampler;
    rank 0 draws the order and tells the others. What two ranks with batches of ``b`` learn from in one step is what one
    process learns from with batches of ``2 * b``.

    Where the loader's batches do not fill the last step, in training the samples that are left are shared out evenly if
    there are two for each rank, and if they are not batched by a sampler of the user's own; with ``drop_last`` they are
    left out. A rank that goes empty-grouped in training gets its batch of before once more, to keep in step with the
    others; nothing is learnt from it and it is not recorded. In testing it gets nothing.

    Batch size, collate function, workers, pinned memory and the like are the loader's. A loader whose sampler knows
    ranks (``num_replicas`` and ``rank``, as a `torch.utils.data.DistributedSampler`) is dealt out already and used as
    it is. A loader without an index for each sample (no ``DataLoader``, a subclass that iterates otherwise, an
    ``IterableDataset``) is run through on every rank, which keeps its part.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. Attributes that are not here are the loader's.
    world : World
        The ranks.
    is_training : callable
        Whether the epoch that begins is one of training.
    epoch : callable, optional
        The number of the epoch that begins, for samplers that know ranks, unless the user has told them another.
    keeps_step : bool, optional
        Whether an empty-grouped rank gets a batch in testing too, since the strategy needs all ranks for each.

    Raises
    ------
    ValueError
        If the batch sampler cannot be dealt out.
    """

    def __init__(
        self,
        loader: Any,
        world: World,
        is_training: Callable[[], bool],
        epoch: Callable[[], int] = lambda: 0,
        keeps_step: bool = False,
    ) -> None:
        self.loader = loader
        self._epoch = epoch
        self._world = world
        self._is_training = is_training
        self._keeps_step = keeps_step
        self._shares: dict[int, BatchShare] = {}
        self._knowing = [sampler for sampler in _samplers(loader) if _knows_ranks(sampler)]
        for sampler in self._knowing:
            _take_rank(sampler, world)
        self._shard = (
            None if self._knowing or not _has_indices(loader) else BatchSamplerShard(loader, world, is_training)
        )

    def check_enough(self) -> None:
        """Raise `ValueError` if training on this loader would take no step, though it has batches."""
        n_batches, size = length(self.loader), self._world.size
        if n_batches and not length(self):
            raise ValueError(
                f"The training loader has {n_batches} batch(es) and drop_last=True, but {size} processes need {size} "
                f"for one step. Use a smaller batch size or fewer devices."
            )

    def _as_it_is(self) -> Iterator[tuple[BatchShare, Any]]:
        epoch = self._epoch()
        for sampler in self._knowing:
            if hasattr(sampler, "set_epoch") and getattr(sampler, "epoch", 0) == _EPOCHS.get(sampler, 0):
                sampler.set_epoch(epoch)
                _EPOCHS[sampler] = epoch
        for step, batch in enumerate(self.loader):
            yield BatchShare(step, 1.0 / self._world.size, rows_of(batch)), batch

    def __len__(self) -> int:
        n_batches = length(self.loader)
        if n_batches is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        if self._knowing:
            return n_batches
        return _n_steps(n_batches, self._world.size, self._drops_rest)

    @property
    def _drops_rest(self) -> bool:
        return self._is_training() and _drops_last(self.loader)

    def share_of(self, step: int) -> BatchShare:
        """Return what this rank has of a step of the epoch under way."""
        return self._shares.get(step, BatchShare(step, 1.0 / self._world.size))

    def __iter__(self) -> Iterator[Any]:
        """Yield this rank's batches of one epoch."""
        self._shares = {}
        training, last = self._is_training(), None
        agrees = training and self._shard is not None and self._shard.loader.collate_fn is not default_collate
        for step, (share, batch) in enumerate(self._batches()):
            if agrees:  # the collate function decides how many samples there are, if any
                share, batch = self._agreed(share, batch, last)
            if not training and not share.weight and not self._keeps_step:
                continue
            self._shares[step] = share
            self._world.log_tracker.begin_batch(batch, share)
            last = batch if batch is not None else last
            yield batch

    def _agreed(self, share: BatchShare, batch: Any, last: Any) -> tuple[BatchShare, Any]:
        """Return share and batch of a step, by the number of samples that each rank really has."""
        own = max(rows_of(batch) or 1, 1) if batch is not None and share.weight else 0
        lacks = batch is None and last is None
        told = self._world.gather_ints(-1 if lacks else own)
        total = sum(size for size in told if size > 0)
        if not total:  # nobody has anything: all pass over it
            return share, None
        if -1 in told:
            given = self._world.broadcast(batch, src=next(rank for rank, size in enumerate(told) if size > 0))
            last = given if last is None else last
        return BatchShare(share.step, own / total, own), last if batch is None else batch

    def _batches(self) -> Iterator[tuple[BatchShare, Any]]:
        if self._knowing:
            return self._as_it_is()
        return self._by_indices(self._shard) if self._shard is not None else self._iter_skipping()

    def _by_indices(self, shard: BatchSamplerShard) -> Iterator[tuple[BatchShare, Any]]:
        batches = iter(shard.loader)
        last = next(batches, None)  # draws the indices, as late as a loop over the loader does
        for share in shard.shares:
            if share.step and share.weight:
                last = next(batches, None)
            yield share, last
        for _ in batches:  # nothing is left; this is the loader's own end
            pass

    def _iter_skipping(self) -> Iterator[tuple[BatchShare, Any]]:
        rank, size = self._world.rank, self._world.size
        set_random_state(self._world.broadcast(random_state()))  # each rank draws the same order
        step, group, last = 0, [], None
        for batch in self.loader:
            if batch is None:
                continue
            group.append(batch)
            if len(group) == size:
                yield _share_of_group(step, group, rank), group[rank]
                last, step, group = group[rank], step + 1, []
        if group and not self._drops_rest:
            batch = group[rank] if rank < len(group) else (group[0] if last is None else last)
            yield _share_of_group(step, group, rank), batch

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


class BatchSamplerShard:
    """A batch sampler: the index lists of one rank, in the order that rank 0 has drawn.

    Attributes
    ----------
    loader : torch.utils.data.DataLoader
        A copy of the user's that takes its indices from here.
    shares : list of BatchShare
        What the rank has of each step, once an iteration of the loader has begun.
    """

    def __init__(self, loader: DataLoader[Any], world: World, is_training: Callable[[], bool]) -> None:
        name = "batch_sampler" if loader.batch_sampler is not None else "sampler"
        self._sampler: Any = getattr(loader, name)
        if length(self._sampler) is None:
            raise ValueError(
                f"The {name.replace('_', ' ')} of the loader, {type(self._sampler).__name__}, has no length, so its "
                f"batches cannot be dealt out to several processes: all must know how many there are. Give it a "
                f"__len__, or build it on a torch.utils.data.DistributedSampler, which is used as it is."
            )
        self._world, self._is_training = world, is_training
        self._drops_last = _drops_last(loader)
        self._splits = type(self._sampler) is BatchSampler  # a sampler of the user's own has its reasons
        self.shares: list[BatchShare] = []
        self.loader = copy.copy(loader)
        # A DataLoader refuses to have its sampler set; but only a copy keeps what a subclass of it adds.
        self.loader.__dict__.update({name: self, "_iterator": None})

    def __iter__(self) -> Iterator[Any]:
        training = self._is_training()
        # Drawn on every rank, so that the random number generators stay in step; what counts is rank 0's.
        batches = self._world.broadcast(list(self._sampler))
        drops = training and self._drops_last
        assigned = shard_batches(batches, self._world.rank, self._world.size, training and self._splits, drops)
        self.shares = [share for share, _ in assigned]
        for share, indices in assigned:
            if share.weight or not share.step:
                yield indices

    def __len__(self) -> int:
        return _n_steps(len(self._sampler), self._world.size, self._is_training() and self._drops_last)


def shard_batches(
    batches: list[Any], rank: int, size: int, split_rest: bool, drop_rest: bool
) -> list[tuple[BatchShare, Any]]:
    """Return the index lists that one rank gets, step by step.

    Parameters
    ----------
    batches : list
        The batches of an epoch, each a list of indices (or one index, where the loader makes no batches).
    rank, size : int
        Which rank, of how many.
    split_rest : bool
        Whether the samples of an incomplete last step are shared out evenly, if there are two for each rank.
    drop_rest : bool
        Whether they are left out.

    Returns
    -------
    list of (BatchShare, list)
        A share of weight 0 has indices too, for the rank that needs something to do.
    """
    dealt = []
    for step, start in enumerate(range(0, len(batches), size)):
        group = batches[start : start + size]
        is_incomplete = len(group) < size
        if is_incomplete and drop_rest:
            break
        are_lists = all(hasattr(batch, "__len__") for batch in group)
        if is_incomplete and split_rest and are_lists:
            rest = list(chain.from_iterable(group))
            group = _evenly(rest, size) if len(rest) >= 2 * size else group
        sizes = [len(batch) if are_lists else 1 for batch in group] + [0] * (size - len(group))
        share = BatchShare(step, sizes[rank] / (sum(sizes) or 1), sizes[rank] if are_lists else None)
        dealt.append((share, group[rank] if share.weight else group[0]))
    return dealt


def rows_of(batch: Any) -> int | None:
    """Return the number of samples in a batch: the length of the first tensor in it; None if there is none."""
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.dim() else None
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((rows for part in parts if (rows := rows_of(part)) is not None), None)


def _share_of_group(step: int, group: list[Any], rank: int) -> BatchShare:
    sizes = [rows_of(batch) for batch in group]
    counts = [1 if None in sizes else max(size or 0, 0) for size in sizes]
    total = sum(counts)
    if rank >= len(group) or not total:
        return BatchShare(step, 0.0 if total else 1.0 / len(group))
    return BatchShare(step, counts[rank] / total, sizes[rank])


def _evenly(indices: list[Any], size: int) -> list[list[Any]]:
    """Split a list into so many parts whose lengths differ by one at most, the longer ones first."""
    length, longer = divmod(len(indices), size)
    ends = [length * n + min(n, longer) for n in range(size + 1)]
    return [indices[start:end] for start, end in pairwise(ends)]


def _n_steps(n_batches: int, size: int, drop_rest: bool) -> int:
    return n_batches // size if drop_rest else -(-n_batches // size)


def _has_indices(loader: Any) -> bool:
    is_plain = isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__
    return is_plain and not isinstance(loader.dataset, IterableDataset)


def _samplers(loader: Any) -> list[Any]:
    batch_sampler = getattr(loader, "batch_sampler", None)
    return [getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]


def _knows_ranks(sampler: Any) -> bool:
    return hasattr(sampler, "num_replicas") and hasattr(sampler, "rank")


def _take_rank(sampler: Any, world: World) -> None:
    """Have a sampler that knows ranks give the part of this one; `ValueError` if it was made for another number."""
    if sampler.num_replicas != world.size:
        raise ValueError(
            f"The {type(sampler).__name__} of the loader is for num_replicas={sampler.num_replicas}, but there are "
            f"{world.size} processes. Leave it out: the batches are dealt out by themselves."
        )
    sampler.rank = world.rank


def _drops_last(loader: Any) -> bool:
    return bool(getattr(loader, "drop_last", False) or getattr(_samplers(loader)[1], "drop_last", False))
