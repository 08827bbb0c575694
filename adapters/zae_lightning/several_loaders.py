"""Several loaders: lists and dicts of loaders, and Lightning's CombinedLoader, as one loader.

Training loaders are combined as Lightning combines them: a batch is a list or dict of batches. Validation and test
loaders follow one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from .dataloader import DataLoaderWrapper
from .foreign_lightning import is_instance


def one_loader(value: Any, is_training: bool) -> Any:
    """Return several loaders as one; anything else unchanged.

    Parameters
    ----------
    value : object
        The argument of the user. A list, tuple or dict whose elements are all loaders (a DataLoader, or an object with
        ``dataset`` or ``batch_size`` that can be iterated), or a CombinedLoader.
    is_training : bool
        Whether the loaders train; otherwise they validate or test.

    Returns
    -------
    iterable of batches
        `CombinedBatches`, `LoadersInTurn`, or the value.

    Raises
    ------
    ValueError
        If a CombinedLoader that validates has a mode other than "sequential".
    """
    mode = None
    if is_instance(value, CombinedLoader):
        value, mode = value.iterables, value._mode
    elif not _is_collection_of_loaders(value):
        return value
    if is_training:
        return CombinedBatches(value, mode or "max_size_cycle")
    if mode not in (None, "sequential"):
        raise ValueError(
            f"A CombinedLoader for validation or test has mode={mode!r}, but its loaders follow one another. "
            f'Give CombinedLoader(loaders, "sequential"), or the list of loaders.'
        )
    return LoadersInTurn(value)


def _is_collection_of_loaders(value: Any) -> bool:
    if not isinstance(value, (list, tuple, dict)) or not value:
        return False
    if type(value).__iter__ not in (list.__iter__, tuple.__iter__, dict.__iter__):  # a loader: looking would start it
        return False
    return all(map(_is_loader, value.values() if isinstance(value, dict) else value))


def _is_loader(value: Any) -> bool:
    has_data = hasattr(value, "dataset") or hasattr(value, "batch_size")
    is_batch = isinstance(value, Mapping) or hasattr(value, "to")
    return isinstance(value, DataLoader) or (hasattr(value, "__iter__") and has_data and not is_batch)


class CombinedBatches:
    """Training loaders whose batches Lightning combines.

    Parameters
    ----------
    structure : collection of loaders
        A list, tuple or dict of loaders.
    mode : str
        A mode of Lightning's CombinedLoader.
    """

    def __init__(self, structure: Any, mode: str) -> None:
        self.structure = structure
        self._mode: Any = mode  # one of CombinedLoader's

    def __iter__(self) -> Iterator[Any]:
        for batch, *_ in CombinedLoader(self.structure, self._mode):
            yield batch

    def __len__(self) -> int:
        lengths = [sized_len(loader) for loader in CombinedLoader(self.structure, self._mode).flattened]
        known = [length for length in lengths if length is not None]
        if not known or (len(known) < len(lengths) and self._mode != "min_size"):
            raise TypeError("one of the loaders has no length")
        if self._mode == "sequential":
            return sum(known)
        return min(known) if self._mode == "min_size" else max(known)


class LoadersInTurn:
    """Validation or test loaders that follow one another.

    Parameters
    ----------
    structure : collection of loaders
        A list, tuple or dict of loaders.
    """

    def __init__(self, structure: Any) -> None:
        self.structure = structure
        self.loaders: list[Any] = CombinedLoader(structure, "sequential").flattened

    def __iter__(self) -> Iterator[Any]:
        for loader in self.loaders:
            yield from loader

    def __len__(self) -> int:
        return sum(len(loader) for loader in self.loaders)


class WrappersInTurn(DataLoaderWrapper):
    """A `DataLoaderWrapper` for each of several loaders.

    Parameters
    ----------
    loaders : LoadersInTurn
        The loaders.
    wrap : callable
        Returns the wrapper of a loader.
    """

    def __init__(self, loaders: LoadersInTurn, wrap: Callable[[Any], DataLoaderWrapper]) -> None:
        super().__init__(loaders)
        self._wrappers = [wrap(loader) for loader in loaders.loaders]
        combined = CombinedLoader(loaders.structure, "sequential")
        combined.flattened = self._wrappers
        self.for_lightning = combined.iterables

    def remaining(self) -> Iterator[Any]:
        """Yield the batches that the loaders give beyond their lengths."""
        for wrapper in self._wrappers:
            yield from wrapper.remaining()

    def close(self) -> None:
        """Release unfinished iterations."""
        for wrapper in self._wrappers:
            wrapper.close()


def wrapped(loader: Any, hide_dataset: bool = False, hide_samplers: bool = True) -> DataLoaderWrapper:
    """Return the wrapper of a loader, or those of several; see `DataLoaderWrapper`."""
    if isinstance(loader, LoadersInTurn):
        return WrappersInTurn(loader, lambda one: DataLoaderWrapper(one, hide_dataset, hide_samplers))
    return DataLoaderWrapper(loader, hide_dataset, hide_samplers)


def for_lightning(wrapper: DataLoaderWrapper | None) -> Any:
    """Return what Lightning receives: a wrapper, a container of them, or None."""
    return wrapper.for_lightning if isinstance(wrapper, WrappersInTurn) else wrapper
