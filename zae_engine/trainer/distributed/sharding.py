"""Sharding: assign the batches of a loader to the ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, default_collate

from ..data.loaders import length
from ..utilities.rng import random_state, set_random_state
from .log_merging import BatchShare

if TYPE_CHECKING:
    from .world import World

_EPOCHS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The epoch that this module last passed to ``set_epoch`` of a sampler."""


class ShardedLoader:
    """One rank's share of a loader; each batch belongs to exactly one rank.

    A step takes one batch for each rank from the loader, in the order of the loader's sampler. Rank 0 draws the order
    and broadcasts it. A step of two ranks with batches of ``b`` samples therefore uses the same samples as a step of
    one process with batches of ``2 * b``.

    The last step may have fewer batches than ranks. In training with torch's own batch sampler, its samples are split
    evenly, if there are at least two for each rank. With ``drop_last``, training drops them. A rank without samples
    gets its previous batch again in training, to stay synchronised with the other ranks; this padding batch has no
    effect on the weights and is not logged. In testing, such a rank gets no batch.

    Batch size, collate function, workers and pinned memory are those of the loader. A loader whose sampler has
    ``num_replicas`` and ``rank``, like a `torch.utils.data.DistributedSampler`, is already sharded and used unchanged.
    So are an ``IterableDataset`` with these attributes, the batches of a Ray Data shard, whose type is defined in
    ``ray.data``, and a ``StreamingDataset`` of litdata.
    A loader without an index for each sample (another class than ``DataLoader``, a subclass with its own ``__iter__``,
    an ``IterableDataset``) is iterated on every rank, and each rank skips the batches of the others.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. Attributes that this class lacks are looked up there.
    world : World
        The ranks.
    is_training : callable
        Returns whether the epoch that begins is a training epoch.
    epoch : callable, optional
        Returns the number of the epoch that begins. Distributed samplers get it, unless the user sets their epoch.
    keeps_step : bool, optional
        Whether a rank without samples gets a padding batch in testing too, since the strategy needs all ranks.

    Raises
    ------
    ValueError
        If the batch sampler cannot be sharded.
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
        dataset = getattr(loader, "dataset", None)
        sources = [*_samplers(loader), dataset if isinstance(dataset, IterableDataset) else None]
        self._distributed_samplers = [source for source in sources if _is_distributed(source)]
        for source in self._distributed_samplers:
            _set_rank(source, world)
        self._is_sharded = bool(self._distributed_samplers) or _is_ray_data(loader) or _shard_litdata(dataset, world)
        is_shardable = not self._is_sharded and _has_indices(loader)
        self._shard = BatchSamplerShard(loader, world, is_training) if is_shardable else None

    def check_enough(self) -> None:
        """Raise `ValueError` if the loader has batches, but too few for a single training step."""
        n_batches, size = length(self.loader), self._world.data_size
        if n_batches and not length(self):
            raise ValueError(
                f"The training loader has {n_batches} batch(es) and drop_last=True, but {size} processes need {size} "
                f"for one step. Use a smaller batch size or fewer devices."
            )

    def _iter_unchanged(self) -> Iterator[tuple[BatchShare, Any]]:
        epoch = self._epoch()
        for sampler in self._distributed_samplers:
            if hasattr(sampler, "set_epoch") and getattr(sampler, "epoch", 0) == _EPOCHS.get(sampler, 0):
                sampler.set_epoch(epoch)
                _EPOCHS[sampler] = epoch
        for step, batch in enumerate(self.loader):
            yield BatchShare(step, 1.0 / self._world.data_size, rows_of(batch)), batch

    def __len__(self) -> int:
        n_batches = length(self.loader)
        if n_batches is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        if self._is_sharded:
            return n_batches
        return _n_steps(n_batches, self._world.data_size, self._drops_incomplete_step)

    @property
    def _drops_incomplete_step(self) -> bool:
        return self._is_training() and _drops_last(self.loader)

    def share_of(self, step: int) -> BatchShare:
        """Return this rank's share of a step of the current epoch."""
        return self._shares.get(step, BatchShare(step, 1.0 / self._world.data_size))

    def __iter__(self) -> Iterator[Any]:
        """Yield this rank's batches of one epoch."""
        self._shares = {}
        training, last = self._is_training(), None
        # The user's collate function may change the number of samples, or return None.
        has_own_collate = training and self._shard is not None and self._shard.loader.collate_fn is not default_collate
        for step, (share, batch) in enumerate(self._batches()):
            if has_own_collate:
                share, batch = self._with_collated_size(share, batch, last)
            if not training and not share.weight and not self._keeps_step:
                continue
            self._shares[step] = share
            self._world.log_tracker.begin_batch(batch, share)
            last = batch if batch is not None else last
            yield batch

    def _with_collated_size(self, share: BatchShare, batch: Any, last: Any) -> tuple[BatchShare, Any]:
        """Return share and batch of a step, weighted by the number of samples that each rank has after collation."""
        n_samples = max(rows_of(batch) or 1, 1) if batch is not None and share.weight else 0
        needs_batch = batch is None and last is None
        by_rank = self._world.gather_ints(-1 if needs_batch else n_samples)
        total = sum(n for n in by_rank if n > 0) // self._world.replicas
        if not total:  # no rank has samples: all skip the step
            return share, None
        if -1 in by_rank:
            padding = self._world.broadcast(batch, src=next(rank for rank, n in enumerate(by_rank) if n > 0))
            last = padding if last is None else last
        return BatchShare(share.step, n_samples / total, n_samples), last if batch is None else batch

    def _batches(self) -> Iterator[tuple[BatchShare, Any]]:
        if self._is_sharded:
            return self._iter_unchanged()
        return self._iter_shard(self._shard) if self._shard is not None else self._iter_skipping()

    def _iter_shard(self, shard: BatchSamplerShard) -> Iterator[tuple[BatchShare, Any]]:
        batches = iter(shard.loader)
        last = next(batches, None)  # draws the indices, as late as a loop over the loader does
        for share in shard.shares:
            if share.step and share.weight:
                last = next(batches, None)
            yield share, last
        for _ in batches:  # exhausts the loader, so that its iterator ends as in a loop over the loader
            pass

    def _iter_skipping(self) -> Iterator[tuple[BatchShare, Any]]:
        rank, size = self._world.data_rank, self._world.data_size
        set_random_state(self._world.broadcast(random_state()))  # so that each rank draws the same order
        step, group, last = 0, [], None
        for batch in self.loader:
            if batch is None:
                continue
            group.append(batch)
            if len(group) == size:
                yield _share_of_group(step, group, rank), group[rank]
                last, step, group = group[rank], step + 1, []
        if group and not self._drops_incomplete_step:
            batch = group[rank] if rank < len(group) else (group[0] if last is None else last)
            yield _share_of_group(step, group, rank), batch

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


class BatchSamplerShard:
    """A batch sampler that yields the index lists of one rank, in the order that rank 0 has drawn.

    Attributes
    ----------
    loader : torch.utils.data.DataLoader
        A copy of the user's loader that takes its indices from this sampler.
    shares : list of BatchShare
        The rank's share of each step; set when an iteration of the loader begins.
    """

    def __init__(self, loader: DataLoader[Any], world: World, is_training: Callable[[], bool]) -> None:
        name = "batch_sampler" if loader.batch_sampler is not None else "sampler"
        self._sampler: Any = getattr(loader, name)
        if length(self._sampler) is None:
            raise ValueError(
                f"The {name.replace('_', ' ')} of the loader, {type(self._sampler).__name__}, has no length, so its "
                f"batches cannot be distributed over several processes: all need their number. Give it a __len__, "
                f"or build it on a torch.utils.data.DistributedSampler, which is used unchanged."
            )
        self._world, self._is_training = world, is_training
        self._drops_last = _drops_last(loader)
        self._splits = type(self._sampler) is BatchSampler  # batches of the user's own sampler stay whole
        self.shares: list[BatchShare] = []
        # DataLoader.__setattr__ refuses a new sampler, and a new DataLoader would lose the attributes of a subclass.
        self.loader = copy.copy(loader)
        self.loader.__dict__.update({name: self, "_iterator": None})

    def __iter__(self) -> Iterator[Any]:
        training = self._is_training()
        # Every rank draws, so that the random number generators stay synchronised. The draw of rank 0 is used.
        batches = self._world.broadcast(list(self._sampler))
        drops = training and self._drops_last
        assigned = shard_batches(
            batches, self._world.data_rank, self._world.data_size, training and self._splits, drops
        )
        self.shares = [share for share, _ in assigned]
        for share, indices in assigned:
            if share.weight or not share.step:
                yield indices

    def __len__(self) -> int:
        return _n_steps(len(self._sampler), self._world.data_size, self._is_training() and self._drops_last)


def shard_batches(
    batches: list[Any], rank: int, size: int, split_rest: bool, drop_rest: bool
) -> list[tuple[BatchShare, Any]]:
    """Return the index lists of one rank, one for each step.

    Parameters
    ----------
    batches : list
        The batches of an epoch, each a list of indices (or one index, if the loader does not batch).
    rank, size : int
        The rank, and the number of ranks.
    split_rest : bool
        Whether the samples of an incomplete last step are split evenly, if there are at least two for each rank.
    drop_rest : bool
        Whether the samples of an incomplete last step are dropped.

    Returns
    -------
    list of (BatchShare, list)
        A share of weight 0 has indices too, those of a padding batch.
    """
    shares = []
    for step, start in enumerate(range(0, len(batches), size)):
        group = batches[start : start + size]
        is_incomplete = len(group) < size
        if is_incomplete and drop_rest:
            break
        are_lists = all(hasattr(batch, "__len__") for batch in group)
        if is_incomplete and split_rest and are_lists:
            rest = list(chain.from_iterable(group))
            group = _split_evenly(rest, size) if len(rest) >= 2 * size else group
        sizes = [len(batch) if are_lists else 1 for batch in group] + [0] * (size - len(group))
        share = BatchShare(step, sizes[rank] / (sum(sizes) or 1), sizes[rank] if are_lists else None)
        shares.append((share, group[rank] if share.weight else group[0]))
    return shares


def rows_of(batch: Any) -> int | None:
    """Return the number of samples in a batch: the length of its first tensor; None if it has no tensor."""
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.dim() else None
    elements = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((rows for element in elements if (rows := rows_of(element)) is not None), None)


def _share_of_group(step: int, group: list[Any], rank: int) -> BatchShare:
    sizes = [rows_of(batch) for batch in group]
    counts = [1 if None in sizes else max(size or 0, 0) for size in sizes]
    total = sum(counts)
    if rank >= len(group) or not total:
        return BatchShare(step, 0.0 if total else 1.0 / len(group))
    return BatchShare(step, counts[rank] / total, sizes[rank])


def _split_evenly(indices: list[Any], size: int) -> list[list[Any]]:
    """Split a list into ``size`` lists whose lengths differ by at most one, the longer lists first."""
    shortest, n_longer = divmod(len(indices), size)
    ends = [shortest * n + min(n, n_longer) for n in range(size + 1)]
    return [indices[start:end] for start, end in pairwise(ends)]


def _n_steps(n_batches: int, size: int, drop_rest: bool) -> int:
    return n_batches // size if drop_rest else -(-n_batches // size)


def _has_indices(loader: Any) -> bool:
    is_plain = isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__
    return is_plain and not isinstance(loader.dataset, IterableDataset)


def _samplers(loader: Any) -> list[Any]:
    batch_sampler = getattr(loader, "batch_sampler", None)
    return [getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]


def _is_distributed(sampler: Any) -> bool:
    return hasattr(sampler, "num_replicas") and hasattr(sampler, "rank")


def _is_ray_data(loader: Any) -> bool:
    return type(loader).__module__.partition(".")[0] == "ray"  # without importing it


def _shard_litdata(dataset: Any, world: World) -> bool:
    """Whether a dataset is a ``StreamingDataset`` of litdata; then it reads this rank's part, as long as all others.

    Such a dataset looks for its rank when it is made, which is before the processes are connected.
    """
    is_litdata = any(cls.__module__.partition(".")[0] == "litdata" for cls in type(dataset).__mro__)
    if not is_litdata or not hasattr(dataset, "distributed_env"):  # a combination of datasets has none
        return False
    if dist.is_initialized():  # the process that starts the ranks keeps all data
        dataset.distributed_env = type(dataset.distributed_env)(world.size, world.rank, world.nodes)
        dataset.drop_last, dataset.shuffler = True, None  # the shuffler was made for the other rank
    return True


def _set_rank(sampler: Any, world: World) -> None:
    """Set the rank of a distributed sampler; `ValueError` if the sampler is for another number of processes."""
    if sampler.num_replicas != world.data_size:
        raise ValueError(
            f"The {type(sampler).__name__} of the loader is for num_replicas={sampler.num_replicas}, but there are "
            f"{world.data_size} processes. Leave it out: the trainer distributes the batches itself."
        )
    sampler.rank = world.data_rank


def _drops_last(loader: Any) -> bool:
    return bool(getattr(loader, "drop_last", False) or getattr(_samplers(loader)[1], "drop_last", False))
