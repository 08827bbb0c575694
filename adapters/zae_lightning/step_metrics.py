"""Step metrics: the values of a training step in ``callback_metrics``, until the results of its epoch replace them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch


class StepMetrics:
    """The values of the latest training step, as ``self.log(..., on_step=True, on_epoch=True)`` gives them.

    A monitor of training finds them at the end of each batch, and during a validation within or after the epoch.
    """

    def __init__(self) -> None:
        self._latest: dict[str, torch.Tensor] = {}

    def update(self, trainer: Any, step_dict: Mapping[Any, Any]) -> None:
        """Write the scalars of a step into ``callback_metrics``, as ``train_<key>``.

        Parameters
        ----------
        trainer : lightning.pytorch.Trainer
            The trainer that runs the step.
        step_dict : mapping
            What ``train_step`` returned.
        """
        self._latest = scalar_tensors(step_dict)
        trainer.callback_metrics.update(self._latest)

    def without_latest(self, results: Mapping[str, float]) -> dict[str, float]:
        """Return the results whose names are not among the values of the latest step."""
        return {name: value for name, value in results.items() if name not in self._latest}

    def clear(self) -> None:
        """Forget the latest step, since its epoch has results."""
        self._latest = {}


def scalar_tensors(step_dict: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the scalars of a training step as detached tensors, on the device of the step.

    Parameters
    ----------
    step_dict : mapping
        What ``train_step`` returned.

    Returns
    -------
    dict of str to torch.Tensor
        ``train_<key>`` for every number and every tensor of one element whose key does not contain "output".
    """
    found = {}
    for key, value in step_dict.items():
        if "output" in str(key):
            continue
        if isinstance(value, torch.Tensor):
            if value.numel() == 1:
                found[f"train_{key}"] = value.detach().reshape(())
        elif isinstance(value, Real):
            found[f"train_{key}"] = torch.tensor(float(value))
    return found
