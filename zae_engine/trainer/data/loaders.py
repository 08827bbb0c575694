"""Loaders like one that there is, but for a detail."""

from __future__ import annotations

import copy
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler


def with_batch_size(loader: Any, batch_size: int) -> Any:
    """Return a loader like this one with another batch size.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
        With PyTorch's own batch sampler.
    batch_size : int
        The number of samples in a batch.

    Raises
    ------
    TypeError
        If the loader has no batch size of its own.
    """
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        raise TypeError(
            f"The batch size of a {type(loader).__name__} cannot be changed; it takes a torch.utils.data.DataLoader "
            f"without a batch_sampler of its own."
        )
    sampler = BatchSampler(loader.sampler, batch_size, loader.drop_last)
    return _replaced(loader, batch_sampler=sampler, batch_size=batch_size)


def in_order(loader: Any) -> Any:
    """Return a loader like this one that does not shuffle; loaders that are no DataLoader as they are."""
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return loader
    sampler: Any = SequentialSampler(loader.dataset)  # type: ignore[arg-type]
    batch_sampler = BatchSampler(sampler, loader.batch_size or 1, loader.drop_last)
    return _replaced(loader, sampler=sampler, batch_sampler=batch_sampler)


def _replaced(loader: DataLoader[Any], **attributes: Any) -> DataLoader[Any]:
    # A DataLoader refuses to have these set; but only a copy keeps what a subclass of it adds.
    changed = copy.copy(loader)
    changed.__dict__.update(attributes, _iterator=None)
    return changed


def is_nonempty(loader: Any) -> bool:
    """Whether there is a loader that is not empty; a loader without a length counts as not empty."""
    try:
        return bool(loader)
    except (TypeError, NotImplementedError):
        return True


def length(value: Any) -> int | None:
    """Return the length of a loader, sampler or dataset; None if it has none."""
    try:
        return len(value)
    except (TypeError, NotImplementedError):
        return None
