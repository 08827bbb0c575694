"""In-memory data: the batches of tensors in memory, by one index operation a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Subset, TensorDataset, default_collate
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map
from torch.utils.data._utils.fetch import _MapDatasetFetcher
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter

_GET_ITEM = TensorDataset.__getitem__
_INT = {int}


def iterate(loader: Any) -> Iterator[Any]:
    """Return ``iter(loader)``, which fetches a batch in one piece where it is known to be the same batch.

    A ``DataLoader`` calls the dataset once a sample, and stacks what it returns: for 256 samples of a `TensorDataset`
    that takes ten times as long as indexing its tensors. Here torch's own iterator fetches the batch by an index; its
    sampler, generators and pinned memory are as ever. Whatever is not exactly torch's, such as a subclass, another
    collate function or samples that are drawn by something else than an ``int``, is fetched by torch.

    Parameters
    ----------
    loader : iterable of batches
        The user's loader, which stays as it is.

    Returns
    -------
    iterator
        Its batches.
    """
    iterator: Iterator[Any] = iter(loader)
    # The names are private to torch; where they are missing or other classes, the iterator stays as it is.
    # tests/unit/zae_lightning/performance/test_in_memory.py fails if they change.
    if type(iterator) is _SingleProcessDataLoaderIter:
        fetcher = getattr(iterator, "_dataset_fetcher", None)
        if type(fetcher) is _MapDatasetFetcher and fetcher.auto_collation and fetcher.collate_fn is default_collate:
            iterator._dataset_fetcher = TensorFetcher(fetcher)
    return iterator


class TensorFetcher:
    """Fetches a batch of a `TensorDataset`, or of a `Subset` of one.

    Parameters
    ----------
    fetcher : _MapDatasetFetcher
        torch's fetcher, which fetches what this one does not know.
    """

    def __init__(self, fetcher: Any) -> None:
        self._fetcher = fetcher

    def fetch(self, indices: Any) -> Any:
        """Return the batch of some indices: a list of tensors, as `default_collate` returns it."""
        tensors, positions = self._fetcher.dataset, indices
        while type(tensors) is Subset and _are_plain(positions):
            positions, tensors = [tensors.indices[position] for position in positions], tensors.dataset
        if (
            type(tensors) is TensorDataset
            and _are_plain(positions)
            and _is_indexed_alike(tensors.tensors)
            and min(positions) >= 0
            and max(positions) < len(tensors.tensors[0])  # otherwise torch says what is wrong
        ):
            index = torch.tensor(positions)
            return [tensor.index_select(0, index) for tensor in tensors.tensors]
        return self._fetcher.fetch(indices)


def _are_plain(indices: Any) -> bool:
    return type(indices) is list and set(map(type, indices)) == _INT


def _is_indexed_alike(tensors: Sequence[Any]) -> bool:
    """Whether an index of tensors gives what a stack of their rows is, in memory too."""
    is_default = default_collate_fn_map.get(torch.Tensor) is collate_tensor_fn and tuple not in default_collate_fn_map
    if not (is_default and TensorDataset.__getitem__ is _GET_ITEM and tensors):
        return False
    length = len(tensors[0])
    for tensor in tensors:  # a loop, since each batch comes here
        if not (
            type(tensor) is torch.Tensor
            and tensor.layout is torch.strided
            and tensor.is_cpu
            and tensor.is_contiguous()
            and not (tensor.requires_grad or tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
            and not any(getattr(tensor, "names", ()))
            and len(tensor) == length
        ):
            return False
    return True
