"""Loaders: copies of a loader with another batch size or without shuffling, and the length of a loader."""

from __future__ import annotations

import copy
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler


def with_batch_size(loader: Any, batch_size: int) -> Any:
    """Return a copy of a loader with another batch size.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
        The loader, with PyTorch's own batch sampler.
    batch_size : int
        The number of samples in a batch.

    Raises
    ------
    TypeError
        If the loader is not a ``DataLoader``, or the user gave it a batch sampler.
    """
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        raise TypeError(
            f"The batch size of a {type(loader).__name__} cannot be changed. Give a torch.utils.data.DataLoader "
            f"that was built with batch_size, not with batch_sampler."
        )
    sampler = BatchSampler(loader.sampler, batch_size, loader.drop_last)
    return _copy_with(loader, batch_sampler=sampler, batch_size=batch_size)


def in_order(loader: Any) -> Any:
    """Return a copy of a loader that does not shuffle. A loader without torch's batch sampler is returned unchanged."""
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return loader
    sampler: Any = SequentialSampler(loader.dataset)  # type: ignore[arg-type]
    batch_sampler = BatchSampler(sampler, loader.batch_size or 1, loader.drop_last)
    return _copy_with(loader, sampler=sampler, batch_sampler=batch_sampler)


def _copy_with(loader: DataLoader[Any], **attributes: Any) -> DataLoader[Any]:
    # DataLoader.__setattr__ refuses these attributes, and a new DataLoader would lose the attributes of a subclass.
    changed = copy.copy(loader)
    changed.__dict__.update(attributes, _iterator=None)
    return changed


def sample_count(loader: Any) -> int | None:
    """Return the number of samples of a loader's dataset: 0 without a loader, None if it has no length."""
    return 0 if loader is None else length(getattr(loader, "dataset", None))


def is_nonempty(loader: Any) -> bool:
    """Whether a loader is given and not empty. A loader without a length counts as not empty."""
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
