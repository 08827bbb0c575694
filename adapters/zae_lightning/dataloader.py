"""Loader wrapper: Lightning receives exactly the batches that ``for batch in loader`` yields."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len

from .performance.in_memory import iterate

_HIDDEN = ("loader", "_iterator")
_SAMPLERS = ("sampler", "batch_sampler")


def given_loaders(value: Any) -> Any:
    """Return the user's loaders in place of their wrappers.

    Parameters
    ----------
    value : object
        A wrapper, a container of wrappers, or anything else.

    Returns
    -------
    object
        A loader, or what the user gave in place of one.
    """
    if isinstance(value, DataLoaderWrapper):
        return getattr(value.loader, "structure", value.loader)  # of several loaders
    if isinstance(value, dict):
        return {key: given_loaders(part) for key, part in value.items()}
    return [given_loaders(part) for part in value] if isinstance(value, list) else value


class DataLoaderWrapper:
    """A loader for Lightning's loops that wraps the user's loader.

    Lightning reads the length once and takes exactly that many batches. It calls ``iter()`` more often than a plain
    loop does, shuts down persistent workers, treats a list as several loaders, and fetches test batches without
    gradients. Each of these can change the results of a trainer. With the wrapper, ``iter()`` has no effect until the
    first batch is requested. The wrapper pads a loader that ends early with ``None``, which Lightning skips.
    `remaining` continues a loader to its end: batches beyond its length, and the code after its last ``yield``.
    A loader whose ``state_dict`` fails counts as one without a state.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader. The wrapper has its attributes.
    hide_dataset : bool, optional
        Whether to hide ``dataset``, so that Lightning does not build another loader from it.
    hide_samplers : bool, optional
        Whether to hide its samplers, so that Lightning does not call ``set_epoch`` on them.

    Attributes
    ----------
    is_read_ahead : bool
        Whether Lightning reads a batch before it has trained the one before; the training loop sets this.
    """

    def __init__(self, loader: Any, hide_dataset: bool = False, hide_samplers: bool = True) -> None:
        self.loader = loader
        self._hidden = (*_HIDDEN, *["dataset"] * hide_dataset, *_SAMPLERS * hide_samplers)
        self._length = sized_len(loader)
        self._batch_iterator: Iterator[Any] | None = None
        self._n_yielded = self._n_skipped = self._n_of_earlier_epoch = 0
        self._is_exhausted = self.is_read_ahead = False
        self._previous_state: Any = None
        self._state_error = ""
        self._earlier_iterator: Callable[[], object] = lambda: None
        self._grad_enabled = torch.is_grad_enabled()

    def __iter__(self) -> Iterator[Any]:
        if self._is_exhausted:  # all batches of the epoch are done
            return
        self._batch_iterator, self._n_yielded, self._n_skipped = iterate(self.loader), self._n_skipped, 0
        while True:
            if self.is_read_ahead and self._is_stateful:
                self._previous_state = self._loader_state()
            if torch.is_grad_enabled() is self._grad_enabled:
                batch = next(self._batch_iterator, self)  # the wrapper itself marks the end
            else:
                with torch.set_grad_enabled(self._grad_enabled):
                    batch = next(self._batch_iterator, self)
            if batch is self:
                break
            self._n_yielded += 1
            yield batch
        self._warn_if_used_up()
        if self._length is not None:
            for _ in range(self._n_yielded, self._length):
                yield None

    def _warn_if_used_up(self) -> None:
        """Warn if ``iter()`` has returned the iterator of an earlier epoch, and nothing is left of it."""
        if self._n_yielded:
            self._n_of_earlier_epoch = self._n_yielded
            with contextlib.suppress(TypeError):  # iterators of lists and of other builtins cannot be referenced
                self._earlier_iterator = weakref.ref(self._batch_iterator)
        elif self._n_of_earlier_epoch and self._earlier_iterator() is self._batch_iterator:
            warnings.warn(
                f"The loader ({type(self.loader).__name__}) gave no batch in this epoch, but "
                f"{self._n_of_earlier_epoch} in an earlier one: it is used up after one epoch. Give something that "
                f"starts again with each iter(loader), a torch.utils.data.DataLoader or a list for instance.",
                stacklevel=2,
            )
            self._n_of_earlier_epoch = 0  # one warning a run

    @property
    def _is_stateful(self) -> bool:
        has_methods = hasattr(self.loader, "state_dict") and hasattr(self.loader, "load_state_dict")
        return has_methods and not self._state_error

    def _loader_state(self) -> Any:
        """Return the loader's state; None, from now on, if its ``state_dict`` fails."""
        try:
            return self.loader.state_dict()
        except Exception as error:
            self._state_error = f"{type(error).__name__}: {error}"
            return None

    def position(self) -> Any:
        """Return the loader's state after the current batch; None if the loader has no ``state_dict`` that works."""
        position = None
        if self._is_stateful:
            position = self._previous_state if self.is_read_ahead else self._loader_state()
        if self._state_error:
            warnings.warn(
                f"{type(self.loader).__name__}.state_dict failed ({self._state_error}), so a state that is saved "
                f"within an epoch resumes with a whole epoch.",
                stacklevel=2,
            )
        return position

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
            # `yield from` would call iter() on the user's iterator, which may start it again.
            while (batch := next(self._batch_iterator, self)) is not self:
                yield batch
        self._batch_iterator = None

    def close(self) -> None:
        """Release an unfinished iteration and its worker processes."""
        self._batch_iterator = None

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError(f"{type(self.loader).__name__} has no length")
        return self._length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("loader", "_hidden", "_state_error") or name in self._hidden:
            raise AttributeError(name)
        value = getattr(self.loader, name)
        if name in ("state_dict", "load_state_dict"):
            if not self._is_stateful:
                raise AttributeError(name)
            if name == "state_dict":
                return self._loader_state
        return value
