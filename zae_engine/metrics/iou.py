"""IoU: intersection over union of label maps and of intervals."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torchmetrics.functional.segmentation import mean_iou

from .._errors import ContractError
from . import _inputs
from ._inputs import Values
from .count import EPS


def miou(img1: Values, img2: Values) -> torch.Tensor:
    """Return the mean intersection over union of the labels for each row.

    As in 0.7.6, the mean is over the labels 0 to M - 1, where M is the highest label of all rows. The value of a label
    that does not occur in a row is 0.

    Parameters
    ----------
    img1 : torch.Tensor or array-like
        Labels, of shape (L,) or (N, L), whole numbers. Negative labels are left out.
    img2 : torch.Tensor or array-like
        Labels of the same shape.

    Returns
    -------
    torch.Tensor
        Means of shape (N,), or of shape (1,) for labels of shape (L,), on the device of the labels; ``nan`` if no label
        is above 0.

    Raises
    ------
    ValueError
        If the shapes differ or are none of these, or the arguments are empty. Also an `AssertionError`, as in 0.7.6.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import miou
    >>> miou(torch.tensor([[0, 1, 1, 2, 2], [0, 1, 1, 2, 2]]), torch.tensor([[0, 1, 1, 2, 1], [0, 1, 1, 2, 2]]))
    tensor([0.8333, 1.0000])
    """
    first, second = _inputs.labels(img1, "img1").long(), _inputs.labels(img2, "img2").long()
    _inputs.same_shape(first, second, ("img1", "img2"))
    if first.ndim not in (1, 2):
        raise ContractError(
            f"img1 has the shape {tuple(first.shape)}: (L,) or (N, L) is expected; `.flatten(1)` gives the latter."
        )
    _inputs.not_empty(first, "img1")
    rows = torch.stack([first, second]).reshape(2, -1, 1, first.shape[-1])
    highest = int(rows.max())
    if highest <= 0:
        return torch.full((rows.shape[1],), torch.nan, device=rows.device)
    rows = torch.where(rows < 0, highest, rows)  # the highest label is left out below
    one, other = rows.unbind(0)
    each = mean_iou(one, other, highest + 1, include_background=True, per_class=True, input_format="index")
    return each[:, :highest].nan_to_num(0.0).clamp(min=0).sum(1) / highest  # -1 marks a label that does not occur


@overload
def giou(img1: Values, img2: Values, iou: Literal[False] = False) -> torch.Tensor: ...


@overload
def giou(img1: Values, img2: Values, iou: Literal[True]) -> tuple[torch.Tensor, torch.Tensor]: ...


def giou(img1: Values, img2: Values, iou: bool = False) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the generalized intersection over union for pairs of intervals.

    The definition is that of 0.7.6: the fraction of the hull that both intervals cover, minus the fraction that the
    first interval does not cover.

    Parameters
    ----------
    img1 : torch.Tensor or array-like
        Intervals (on, off), of shape (2,) or (N, 2). Arrays are converted to integers.
    img2 : torch.Tensor or array-like
        Intervals of the same shape.
    iou : bool, optional
        Whether to return the intersection over union too, by default False.

    Returns
    -------
    torch.Tensor or tuple of torch.Tensor
        Values of shape (N,), from -2 to 1, on the device of the intervals; with ``iou``, followed by the intersection
        over union.

    Raises
    ------
    ValueError
        If the shapes differ or are none of these. Also an `AssertionError`, as in 0.7.6.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import giou
    >>> giou(torch.tensor([[1, 4], [2, 5]]), torch.tensor([[1, 3], [2, 6]]), iou=True)
    (tensor([0.6667, 0.5000]), tensor([0.6667, 0.7500]))
    """
    first, second = _inputs.labels(img1, "img1"), _inputs.labels(img2, "img2")
    _inputs.same_shape(first, second, ("img1", "img2"))
    if first.ndim not in (1, 2) or first.shape[-1] != 2:
        raise ContractError(
            f"img1 has the shape {tuple(first.shape)}: intervals (on, off) of shape (2,) or (N, 2) are expected."
        )
    on1, off1 = first.reshape(-1, 2).unbind(1)
    on2, off2 = second.reshape(-1, 2).unbind(1)
    hull = torch.maximum(off1, off2) - torch.minimum(on1, on2)
    both = torch.minimum((on1 - off2).abs(), (off1 - on2).abs())
    plain = both / (hull + EPS)
    generalized = plain - ((hull - (off1 - on1)) / (hull + EPS)).abs()
    return (generalized, plain) if iou else generalized
