"""Loaders that Lightning would not treat as a plain loop does, made fit for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader


def for_lightning(loader: Any) -> Any:
    """Return a loader that Lightning iterates exactly as ``for batch in loader`` would.

    A `torch.utils.data.DataLoader` is returned as it is, unless it has persistent workers: Lightning would shut these
    down when a run ends, and new ones draw a new seed. Anything else is wrapped: Lightning takes a list for several
    loaders, and calls ``iter()`` on a foreign object once more than a loop would, to see if it can.

    Parameters
    ----------
    loader : iterable of batches or None
        The user's loader.

    Returns
    -------
    iterable of batches or None
        The same loader, or a `LazyLoader` around it.
    """
    if loader is None or (isinstance(loader, DataLoader) and not loader.persistent_workers):
        return loader
    return LazyLoader(loader)


class LazyLoader:
    """An iterable of batches whose ``iter()`` has no effect until the first batch is asked for.

    Parameters
    ----------
    loader : iterable
        The user's loader; its attributes can be read here too.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        yield from self.loader

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("loader", "_iterator"):  # Lightning shuts down what is in _iterator
            raise AttributeError(name)
        return getattr(self.loader, name)
