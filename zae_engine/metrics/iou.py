"""Intersection over union: of label maps, and of intervals."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torchmetrics.functional.segmentation import mean_iou

from .._errors import ContractError
from . import _inputs
from ._inputs import Values
from .count import EPS


def miou(img1: Values, img2: Values) -> torch.Tensor:
    """Return the mean intersection over union of the labels, for each row.

    As in 0.7.6, the highest label of all rows, M, is left out, and the mean is over the labels 0 to M - 1. A label that
    does not occur in a row counts as 0.

    Parameters
    ----------
    img1 : torch.Tensor or array-like
        Labels, of shape (L,) or (N, L), whole numbers; negative ones are left out.
    img2 : torch.Tensor or array-like
        Labels of the same shape.

    Returns
    -------
    torch.Tensor
        Means of shape (N,), of which there is one for shape (L,), on the device of the labels; ``nan`` where no label
        is above 0.

    Raises
    ------
    ValueError
        If the shapes differ, are none of these, or there are no labels. Also an `AssertionError`, as in 0.7.6.

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
    rows = torch.where(rows < 0, highest, rows)  # which is left out
    one, other = rows.unbind(0)
    each = mean_iou(one, other, highest + 1, include_background=True, per_class=True, input_format="index")
    return each[:, :highest].nan_to_num(0.0).clamp(min=0).sum(1) / highest  # absent ones are below 0


@overload
def giou(img1: Values, img2: Values, iou: Literal[False] = False) -> torch.Tensor: ...


@overload
def giou(img1: Values, img2: Values, iou: Literal[True]) -> tuple[torch.Tensor, torch.Tensor]: ...


def giou(img1: Values, img2: Values, iou: bool = False) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the generalized intersection over union of intervals, pair by pair.

    This is 0.7.6's own measure, for intervals on a line: the share of the hull that both cover, less the share that the
    first one does not.

    Parameters
    ----------
    img1 : torch.Tensor or array-like
        Intervals (on, off), of shape (2,) or (N, 2). Arrays are turned into integers.
    img2 : torch.Tensor or array-like
        Intervals of the same shape.
    iou : bool, optional
        Whether to return the plain intersection over union too, by default False.

    Returns
    -------
    torch.Tensor or tuple of torch.Tensor
        Values of shape (N,), from -2 to 1, on the device of the intervals; with ``iou`` the plain ones as well.

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
