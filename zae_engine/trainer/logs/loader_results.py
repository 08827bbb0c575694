"""Loader results: the means of each validation loader, where there are several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .epoch_log import EpochLog
from .epoch_results import epoch_results
from .value_buffer import detach_copy


class LoaderResults:
    """Collects what the steps on each of several loaders return, until `take` returns the means."""

    def __init__(self) -> None:
        self._logs: dict[int, EpochLog] = {}

    def add(self, index: int, step_dict: Mapping[str, Any], size: Any = None) -> None:
        """Add what a step returned.

        Parameters
        ----------
        index : int
            The number of the loader, from 0.
        step_dict : mapping of str to object
            The values; only tensors of one element and numbers are collected.
        size : float or torch.Tensor, optional
            The number of samples, for means over samples.
        """
        log = self._logs.setdefault(index, EpochLog())
        for key, value in step_dict.items():
            if isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1):
                log.add(key, detach_copy(value), size)

    def take(self) -> dict[str, float]:
        """Return the means under Lightning's names, such as ``test_loss/dataloader_idx_0``, and begin again."""
        logs, self._logs = self._logs, {}
        return {
            f"{name}/dataloader_idx_{index}": value
            for index, log in logs.items()
            for name, value in epoch_results(log, "test", {}).items()
        }
