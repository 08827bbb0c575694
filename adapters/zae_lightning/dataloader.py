"""Loader wrapper: Lightning receives exactly the batches that ``for batch in loader`` yields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len

_HIDDEN = ("loader", "sampler", "batch_sampler", "_iterator")


class DataLoaderWrapper:
    """A loader for Lightning's loops that wraps the user's loader.

    Lightning reads the length once and takes exactly that many batches. It calls ``iter()`` more often than a plain
    loop does, shuts down persistent workers, treats a list as several loaders, and fetches test batches without
    gradients. Each of these can change the results of a trainer. With the wrapper, ``iter()`` has no effect until the
    first batch is requested. The wrapper pads a loader that ends early with ``None``, which Lightning skips.
    `remaining` continues a loader to its end: batches beyond its length, and the code after its last ``yield``.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. The wrapper has its attributes, but not its samplers, on which Lightning calls ``set_epoch``.
    hide_dataset : bool, optional
        Whether to hide ``dataset`` too, so that Lightning does not build another loader from it.
    """

    def __init__(self, loader: Any, hide_dataset: bool = False) -> None:
        self.loader = loader
        self._hidden = (*_HIDDEN, "dataset") if hide_dataset else _HIDDEN
        self._length = sized_len(loader)
        self._batch_iterator: Iterator[Any] | None = None
        self._n_yielded = self._n_skipped = 0
        self._is_exhausted = False
        self._previous_state: Any = None
        self._grad_enabled = torch.is_grad_enabled()

    def __iter__(self) -> Iterator[Any]:
        if self._is_exhausted:  # all batches of the epoch are done
            return
        self._batch_iterator, self._n_yielded, self._n_skipped = iter(self.loader), self._n_skipped, 0
        while True:
            if self._length is None and self._is_stateful:
                self._previous_state = self.loader.state_dict()  # without a length, Lightning prefetches one batch
            if torch.is_grad_enabled() is self._grad_enabled:
                batch = next(self._batch_iterator, self)  # the wrapper itself marks the end
            else:
                with torch.set_grad_enabled(self._grad_enabled):
                    batch = next(self._batch_iterator, self)
            if batch is self:
                break
            self._n_yielded += 1
            yield batch
        if self._length is not None:
            for _ in range(self._n_yielded, self._length):
                yield None

    @property
    def _is_stateful(self) -> bool:
        return hasattr(self.loader, "state_dict") and hasattr(self.loader, "load_state_dict")

    def position(self) -> Any:
        """Return the loader's state after the current batch; None if the loader has no ``state_dict``."""
        if not self._is_stateful:
            return None
        return self.loader.state_dict() if self._length is not None else self._previous_state

    def skip(self, batches: int, are_all: bool) -> None:
        """Count batches that were trained before a resume; the loader, with its state restored, continues after them.

        Parameters
        ----------
        batches : int
            The number of finished batches.
        are_all : bool
            Whether the epoch has no more.
        """
        self._n_skipped, self._is_exhausted = (0, True) if are_all else (batches, False)

    def begin_epoch(self) -> None:
        """Yield all batches again in a new epoch."""
        self._is_exhausted = False

    def remaining(self) -> Iterator[Any]:
        """Yield the loader's batches beyond its length, if Lightning has taken all batches before them."""
        if self._batch_iterator is not None and self._n_yielded == self._length:
            yield from self._batch_iterator
        self._batch_iterator = None

    def close(self) -> None:
        """Release an unfinished iteration and its worker processes."""
        self._batch_iterator = None

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        return self._length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("loader", "_hidden") or name in self._hidden:
            raise AttributeError(name)
        return getattr(self.loader, name)
