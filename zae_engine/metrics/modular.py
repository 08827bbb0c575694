"""Modular: metrics of labels as torchmetrics' `Metric`, updated with each batch and synchronised between processes.

``Trainer(metrics={"accuracy": Accuracy()})`` updates them with the ``"preds"`` and ``"target"`` that the steps return.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from . import _inputs
from .bijective import BijectiveMetrix, scores
from .confusion import confusion_matrix
from .count import f_beta_from_mat
from .iou import giou, miou


class Accuracy(Metric):
    """The fraction of labels that are predicted correctly, over all batches; see `zae_engine.metrics.accuracy`.

    ``update(preds, target)`` takes labels of any values and of the same shape.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import Accuracy
    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([1, 2]), torch.tensor([1, 2]))
    >>> metric.update(torch.tensor([3, 4]), torch.tensor([2, 4]))
    >>> metric.compute()
    tensor(0.7500)
    """

    full_state_update = False
    higher_is_better = True
    right: torch.Tensor
    total: torch.Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        _inputs.same_shape(preds, target, ("preds", "target"))
        self.right += torch.eq(preds, target).sum()
        self.total += target.numel()

    def compute(self) -> torch.Tensor:
        """Return a scalar."""
        return self.right / self.total


class ConfusionMatrix(MulticlassConfusionMatrix):
    """The counts of each predicted label for each right label; see `zae_engine.metrics.confusion_matrix`.

    Parameters
    ----------
    num_classes : int
        The number of classes C. ``update(preds, target)`` takes labels from 0 to C - 1, of the same shape.
    **kwargs
        Arguments of torchmetrics' class.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import ConfusionMatrix
    >>> metric = ConfusionMatrix(2)
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    tensor([[1., 1.],
            [0., 1.]])
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **{"validate_args": False, **kwargs})

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        self.confmat += confusion_matrix(preds, target, self.num_classes).long()

    def compute(self) -> torch.Tensor:
        """Return counts as float32, of shape (C, C): a row for each right label."""
        return super().compute().float()


class FBeta(ConfusionMatrix):
    """The F-beta score over all batches; see `zae_engine.metrics.f_beta`.

    Parameters
    ----------
    beta : float
        How many times as much recall weighs as precision.
    num_classes : int
        The number of classes C. ``update(preds, target)`` takes labels from 0 to C - 1, of the same shape.
    average : {"micro", "macro"}, optional
        The average over all labels, or over the scores of all classes.
    **kwargs
        Arguments of torchmetrics' class.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import FBeta
    >>> metric = FBeta(1.0, num_classes=2, average="macro")
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    tensor(0.6667)
    """

    higher_is_better = True

    def __init__(self, beta: float, num_classes: int, average: str = "micro", **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        f_beta_from_mat(torch.zeros(1, 1), beta, 1, average)  # raises an error for an unknown average
        self.beta, self.average = beta, average

    def compute(self) -> torch.Tensor:
        """Return a scalar."""
        return f_beta_from_mat(super().compute(), self.beta, self.num_classes, self.average)


class _Mean(Metric):
    """The mean of one value for each sample, over all batches."""

    full_state_update = False
    higher_is_better = True
    summed: torch.Tensor
    total: torch.Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("summed", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, values: torch.Tensor) -> None:
        self.summed += values.sum()
        self.total += values.numel()

    def compute(self) -> torch.Tensor:
        """Return a scalar."""
        return self.summed / self.total


class MIoU(_Mean):
    """The mean of `zae_engine.metrics.miou` over all rows of all batches.

    ``update(preds, target)`` takes labels of shape (L,) or (N, L). The highest label of each batch is left out, so that
    all batches should have the same highest label.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import MIoU
    >>> MIoU()(torch.tensor([[0, 1, 1, 2, 2], [0, 1, 1, 2, 2]]), torch.tensor([[0, 1, 1, 2, 1], [0, 1, 1, 2, 2]]))
    tensor(0.9167)
    """

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        self._add(miou(preds, target))


class GIoU(_Mean):
    """The mean of `zae_engine.metrics.giou` over all pairs of intervals of all batches.

    ``update(preds, target)`` takes intervals (on, off) of shape (2,) or (N, 2).

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import GIoU
    >>> GIoU()(torch.tensor([[1, 4], [2, 5]]), torch.tensor([[1, 3], [2, 6]]))
    tensor(0.5833)
    """

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        self._add(giou(preds, target))


class Bijective(Metric):
    """The scores of `zae_engine.metrics.BijectiveMetrix`, from the counts of all sequences of all batches.

    Parameters
    ----------
    num_classes : int
        The number of classes C, without label 0. ``update(preds, target)`` takes labels from 0 to C, of shape (L,) or
        (N, L).
    th_run_length : int, optional
        The shortest run that counts, by default 2.
    **kwargs
        Arguments of torchmetrics' class.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import Bijective
    >>> sequences = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 0, 2, 2, 2, 2]])
    >>> Bijective(2)(sequences, sequences)["bijective_f1"]
    tensor(1.)
    """

    full_state_update = False
    higher_is_better = True
    counts: torch.Tensor
    VIEWS = ("bijective", "injective", "surjective")

    def __init__(self, num_classes: int, th_run_length: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.th_run_length = num_classes, th_run_length
        size = num_classes + 1
        self.add_state("counts", torch.zeros(3, size, size, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        _inputs.same_shape(preds, target, ("preds", "target"))
        pairs = zip(torch.atleast_2d(preds).cpu(), torch.atleast_2d(target).cpu(), strict=True)  # type: ignore[no-untyped-call]
        for predicted, right in pairs:
            result = BijectiveMetrix(predicted, right, self.num_classes, self.th_run_length)
            matrices = np.stack([getattr(result, f"{view}_mat") for view in self.VIEWS])
            self.counts += torch.from_numpy(matrices).to(self.counts)

    def compute(self) -> dict[str, torch.Tensor]:
        """Return the scalars ``<view>_f1`` and ``<view>_acc`` for the bijective, injective and surjective view."""
        results = {}
        for view, matrix in zip(self.VIEWS, self.counts.cpu().numpy(), strict=True):
            f1, acc = scores(matrix)
            results[f"{view}_f1"], results[f"{view}_acc"] = f1, torch.tensor(float(acc))
        return results
