"""Dealing out the batches of a loader to the ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from .ledger import Share

if TYPE_CHECKING:
    from .world import World


class Dealt:
    """A rank's part of a loader: every batch goes to one rank, none to two.

    A step takes as many batches from the loader as there are ranks, in the loader's own order, whatever its sampler;
    rank 0 draws the order and tells the others. What two ranks with batches of ``b`` learn from in one step is what one
    process learns from with batches of ``2 * b``.

    Where the loader's batches do not fill the last step, in training the samples that are left are shared out evenly;
    with ``drop_last`` they are left out. A rank that goes empty-handed, as one does in testing too, gets its batch of
    before once more, to keep in step with the others; nothing is learnt from it and it is not recorded.

    Batch size, collate function, workers, pinned memory and the like are the loader's. A loader whose sampler is a
    `torch.utils.data.DistributedSampler` is dealt out already and used as it is; its ``set_epoch`` is called. A loader
    that is no ``DataLoader``, or is one of an ``IterableDataset``, is run through on every rank, which keeps its part.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. Attributes that are not here are the loader's.
    world : World
        The ranks.
    is_training : callable
        Whether the epoch that begins is one of training.

    Raises
    ------
    ValueError
        If the batch sampler cannot be dealt out.
    """

    def __init__(self, loader: Any, world: World, is_training: Callable[[], bool]) -> None:
        self.loader = loader
        self._world = world
        self._is_training = is_training
        self._epoch = 0
        self._shares: dict[int, Share] = {}
        self._is_dealt_already = _is_dealt_already(loader)
        self._hands = None if self._is_dealt_already or not _has_indices(loader) else _Hands(loader, world, is_training)

    def check_enough(self) -> None:
        """Raise `ValueError` if training on this loader would take no step, though it has batches."""
        n_batches, size = _length(self.loader), self._world.size
        if n_batches and not _length(self):
            raise ValueError(
                f"The training loader has {n_batches} batch(es) and drop_last=True, but {size} processes need {size} "
                f"for one step. Use a smaller batch size or fewer devices."
            )

    def __len__(self) -> int:
        n_batches = _length(self.loader)
        if n_batches is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        if self._is_dealt_already:
            return n_batches
        return _n_steps(n_batches, self._world.size, self._drops_rest)

    @property
    def _drops_rest(self) -> bool:
        return self._is_training() and _drops_last(self.loader)

    def share_of(self, step: int) -> Share:
        """Return what this rank has of a step of the epoch under way."""
        return self._shares.get(step, Share(step, 1.0 / self._world.size))

    def __iter__(self) -> Iterator[Any]:
        """Yield this rank's batches of one epoch."""
        self._shares = {}
        last = None
        for step, (share, batch) in enumerate(self._batches()):
            if batch is None and last is not None:  # nothing to learn from, but the others do
                share, batch = Share(step, 0.0), last
            self._shares[step] = self._world.ledger.share = share
            last = batch
            yield batch

    def _batches(self) -> Iterator[tuple[Share, Any]]:
        if self._is_dealt_already:
            return self._as_it_is()
        return self._by_indices(self._hands) if self._hands is not None else self._by_passing_over()

    def _as_it_is(self) -> Iterator[tuple[Share, Any]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        for sampler in _samplers(self.loader):
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
        for step, batch in enumerate(self.loader):
            yield Share(step, 1.0 / self._world.size), batch

    def _by_indices(self, hands: _Hands) -> Iterator[tuple[Share, Any]]:
        batches = iter(hands.loader)
        last = next(batches, None)  # draws the indices, as late as a loop over the loader does
        for share in hands.shares:
            if share.step and share.weight:
                last = next(batches)
            yield share, last
        for _ in batches:  # nothing is left; this is the loader's own end
            pass

    def _by_passing_over(self) -> Iterator[tuple[Share, Any]]:
        rank, size = self._world.rank, self._world.size
        step, hand, last = 0, [], None
        for batch in self.loader:
            if batch is None:
                continue
            hand.append(batch)
            if len(hand) == size:
                last = hand[rank]
                yield Share(step, 1.0 / size), last
                step, hand = step + 1, []
        if hand and not self._drops_rest:
            if rank < len(hand):
                yield Share(step, 1.0 / len(hand)), hand[rank]
            else:
                yield Share(step, 0.0), hand[0] if last is None else last

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


class _Hands:
    """A batch sampler: the index lists of one rank, in the order that rank 0 has drawn.

    Attributes
    ----------
    loader : torch.utils.data.DataLoader
        A copy of the user's that takes its indices from here.
    shares : list of Share
        What the rank has of each step, once an iteration of the loader has begun.
    """

    def __init__(self, loader: DataLoader[Any], world: World, is_training: Callable[[], bool]) -> None:
        name = "batch_sampler" if loader.batch_sampler is not None else "sampler"
        self._sampler: Any = getattr(loader, name)
        if _length(self._sampler) is None:
            raise ValueError(
                f"The {name.replace('_', ' ')} of the loader, {type(self._sampler).__name__}, has no length, so its "
                f"batches cannot be dealt out to several processes: all must know how many there are. Give it a "
                f"__len__, or build it on a torch.utils.data.DistributedSampler, which is used as it is."
            )
        self._world, self._is_training = world, is_training
        self._drops_last = _drops_last(loader)
        self.shares: list[Share] = []
        self.loader = copy.copy(loader)
        # A DataLoader refuses to have its sampler set; but only a copy keeps what a subclass of it adds.
        self.loader.__dict__.update({name: self, "_iterator": None})

    def __iter__(self) -> Iterator[Any]:
        training = self._is_training()
        # Drawn on every rank, so that the random number generators stay in step; what counts is rank 0's.
        batches = self._world.broadcast(list(self._sampler))
        dealt = deal(batches, self._world.rank, self._world.size, training, training and self._drops_last)
        self.shares = [share for share, _ in dealt]
        for share, indices in dealt:
            if share.weight or not share.step:
                yield indices

    def __len__(self) -> int:
        return _n_steps(len(self._sampler), self._world.size, self._is_training() and self._drops_last)


def deal(batches: list[Any], rank: int, size: int, split_rest: bool, drop_rest: bool) -> list[tuple[Share, Any]]:
    """Return the index lists that one rank gets, step by step.

    Parameters
    ----------
    batches : list
        The batches of an epoch, each a list of indices (or one index, where the loader makes no batches).
    rank, size : int
        Which rank, of how many.
    split_rest : bool
        Whether the samples of an incomplete last step are shared out evenly.
    drop_rest : bool
        Whether they are left out.

    Returns
    -------
    list of (Share, list)
        A share of weight 0 has indices too, for the rank that needs something to do.
    """
    dealt = []
    for step, start in enumerate(range(0, len(batches), size)):
        hand = batches[start : start + size]
        is_incomplete = len(hand) < size
        if is_incomplete and drop_rest:
            break
        are_lists = all(hasattr(batch, "__len__") for batch in hand)
        if is_incomplete and split_rest and are_lists:
            hand = _evenly(list(chain.from_iterable(hand)), size)
        sizes = [len(batch) if are_lists else 1 for batch in hand] + [0] * (size - len(hand))
        share = Share(step, sizes[rank] / (sum(sizes) or 1), sizes[rank] if are_lists else None)
        dealt.append((share, hand[rank] if share.weight else hand[0]))
    return dealt


def _evenly(indices: list[Any], size: int) -> list[list[Any]]:
    """Split a list into so many parts whose lengths differ by one at most, the longer ones first."""
    length, longer = divmod(len(indices), size)
    ends = [length * n + min(n, longer) for n in range(size + 1)]
    return [indices[start:end] for start, end in pairwise(ends)]


def _n_steps(n_batches: int, size: int, drop_rest: bool) -> int:
    return n_batches // size if drop_rest else -(-n_batches // size)


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, NotImplementedError):
        return None


def _has_indices(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def _samplers(loader: Any) -> list[Any]:
    batch_sampler = getattr(loader, "batch_sampler", None)
    return [getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]


def _is_dealt_already(loader: Any) -> bool:
    return any(isinstance(sampler, DistributedSampler) for sampler in _samplers(loader))


def _drops_last(loader: Any) -> bool:
    return bool(getattr(loader, "drop_last", False) or getattr(_samplers(loader)[1], "drop_last", False))
