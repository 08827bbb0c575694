"""Loaders as ``for batch in loader`` iterates them, which Lightning does not quite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len

_HIDDEN = ("loader", "sampler", "batch_sampler", "_iterator")


class DataLoaderWrapper:
    """A loader between the user's and Lightning's loops.

    Lightning asks for the length once and takes as many batches, no more and no less; it calls ``iter()`` more often
    than a loop does, shuts persistent workers down, takes a list for several loaders, and fetches test batches without
    gradients. Each of these can change what a trainer computes. Here, ``iter()`` has no effect until the first batch is
    asked for; missing batches are made up by ``None``, which is skipped; and what is left when Lightning has enough, be
    it only the code behind the last ``yield``, is for `remaining`.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. Its attributes can be read here too, but for its samplers, which Lightning would tell the
        epoch.
    hides_dataset : bool, optional
        Whether its dataset cannot be read either, so that Lightning makes no other loader of it.
    """

    def __init__(self, loader: Any, hides_dataset: bool = False) -> None:
        self.loader = loader
        self._hidden = (*_HIDDEN, "dataset") if hides_dataset else _HIDDEN
        self._length = sized_len(loader)
        self._batches: Iterator[Any] | None = None
        self._given = self._passed = 0
        self._is_over = False
        self._before: Any = None
        self._grad_enabled = torch.is_grad_enabled()

    def __iter__(self) -> Iterator[Any]:
        if self._is_over:  # nothing is drawn from it
            return
        self._batches, self._given, self._passed = iter(self.loader), self._passed, 0
        while True:
            if self._length is None and self._is_stateful:
                self._before = self.loader.state_dict()  # Lightning fetches one batch ahead here
            if torch.is_grad_enabled() is self._grad_enabled:
                batch = next(self._batches, self)  # itself for the end
            else:
                with torch.set_grad_enabled(self._grad_enabled):
                    batch = next(self._batches, self)
            if batch is self:
                break
            self._given += 1
            yield batch
        if self._length is not None:
            for _ in range(self._given, self._length):
                yield None

    @property
    def _is_stateful(self) -> bool:
        return hasattr(self.loader, "state_dict") and hasattr(self.loader, "load_state_dict")

    def position(self) -> Any:
        """Return the loader's own state behind the batch that is being trained; None if it has none."""
        if not self._is_stateful:
            return None
        return self.loader.state_dict() if self._length is not None else self._before

    def skip(self, batches: int, are_all: bool) -> None:
        """Count batches of the epoch that the loader, set to where it was, does not give again."""
        self._passed, self._is_over = (0, True) if are_all else (batches, False)

    def begin_epoch(self) -> None:
        """Give all batches again: an epoch begins that was not gone on with."""
        self._is_over = False

    def remaining(self) -> Iterator[Any]:
        """Yield what the user's loader has beyond its length, if Lightning has taken all up to there."""
        if self._batches is not None and self._given == self._length:
            yield from self._batches
        self._batches = None

    def close(self) -> None:
        """Let go of an iteration that was broken off, and of its worker processes."""
        self._batches = None

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        return self._length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("loader", "_hidden") or name in self._hidden:
            raise AttributeError(name)
        return getattr(self.loader, name)
