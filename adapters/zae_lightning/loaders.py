"""Loaders that are no torch DataLoader, made fit for Lightning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader


def for_lightning(loader: Any) -> Any:
    """Return a loader that Lightning iterates exactly as ``for batch in loader`` would.

    A `torch.utils.data.DataLoader` is returned as it is. Anything else is wrapped: Lightning takes a list for several
    loaders, and calls ``iter()`` on a foreign object once more than a loop would, to see if it can.
    """
    return loader if loader is None or isinstance(loader, DataLoader) else LazyLoader(loader)


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
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)
