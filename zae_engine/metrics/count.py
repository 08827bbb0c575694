"""Count: accuracy and F-beta, the metrics that count right labels."""

from __future__ import annotations

import torch
from torchmetrics.functional.classification import multiclass_fbeta_score

from .._errors import ContractError
from . import _inputs
from ._inputs import Values

EPS = 1e-9  # makes a ratio 0 if its denominator is 0, as in 0.7.6


def accuracy(true: Values, predict: Values) -> torch.Tensor:
    """Return the fraction of labels that are predicted correctly.

    Parameters
    ----------
    true : torch.Tensor or array-like
        The right labels, of shape (N,) or (N, ...), of any values. Arrays are converted to integers.
    predict : torch.Tensor or array-like
        The predicted labels, of the same shape.

    Returns
    -------
    torch.Tensor
        A float32 tensor on the device of the labels: a scalar for shape (N,), one value a column for (N, ...).

    Raises
    ------
    ValueError
        If the shapes differ, are (), or there are no labels (a `ZeroDivisionError` too). Also an `AssertionError`, as
        in 0.7.6.
    TypeError
        If an argument is not an array of numbers.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import accuracy
    >>> accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 2, 4]))
    tensor(0.7500)
    """
    true, predict = _inputs.labels(true, "true"), _inputs.labels(predict, "predict")
    _inputs.same_shape(true, predict, ("true", "predict"))
    if not true.ndim:
        raise ContractError("true and predict are single numbers: labels of shape (N,) are expected.")
    _inputs.not_empty(true, "true")
    # torchmetrics' accuracy needs the number of classes, and returns a single number for all shapes.
    return torch.eq(true, predict).sum(0) / len(true)


class Acc:
    """Accuracy of labels, or of scores for each class, as a plain number.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics.count import Acc
    >>> Acc()(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 1]))
    0.75
    >>> Acc.top_k_accuracy(torch.tensor([0, 2]), torch.tensor([[0.1, 0.7, 0.2], [0.2, 0.5, 0.3]]), k=2)
    0.5
    """

    def __call__(self, true: Values, predict: Values) -> float:
        """Return the fraction that is right.

        Parameters
        ----------
        true : torch.Tensor or array-like
            The right labels, of shape (N, ...).
        predict : torch.Tensor or array-like
            Labels of the same shape, or scores with one dimension more. For scores the result is 1, as in 0.7.6, where
            k is the number of classes; `top_k_accuracy` takes another k.

        Returns
        -------
        float
            The fraction, between 0 and 1.

        Raises
        ------
        ValueError
            If the first dimensions differ, or ``predict`` has another number of dimensions.
        """
        true = _inputs.labels(true, "true")
        predict = _inputs.numbers(predict, "predict")
        if not true.ndim or not predict.ndim or true.shape[0] != predict.shape[0]:
            raise ContractError(
                f"true has the shape {tuple(true.shape)} and predict {tuple(predict.shape)}: the first dimension, the "
                f"number of samples, must be the same."
            )
        if predict.ndim == true.ndim + 1:
            return self.top_k_accuracy(true, predict, predict.shape[-1])
        if predict.ndim == true.ndim:
            return self.accuracy(true, predict)
        raise ContractError(
            f"predict has {predict.ndim} dimensions and true {true.ndim}: as many are expected for labels, or one more "
            f"for scores."
        )

    @staticmethod
    def accuracy(true: Values, predict: Values) -> float:
        """Return the fraction of all labels that are right; see `accuracy` for arguments and errors."""
        true, predict = _inputs.labels(true, "true"), _inputs.labels(predict, "predict")
        _inputs.same_shape(true, predict, ("true", "predict"))
        _inputs.not_empty(true, "true")
        return torch.eq(true, predict).float().mean().item()

    @staticmethod
    def top_k_accuracy(true: Values, predict: Values, k: int) -> float:
        """Return the fraction of samples whose right class is among the k classes with the highest scores.

        Parameters
        ----------
        true : torch.Tensor or array-like
            The right classes, of shape (N,), from 0 to C - 1; as in 0.7.6, any other label counts as wrong.
        predict : torch.Tensor or array-like
            Scores of shape (N, C).
        k : int
            The number of classes that count, from 1 to C.

        Returns
        -------
        float
            The fraction, between 0 and 1.

        Raises
        ------
        ValueError
            If the shapes or ``k`` do not fit.
        """
        predict = _inputs.numbers(predict, "predict")
        predict = predict.unsqueeze(1) if predict.ndim == 1 else predict
        true = _inputs.labels(true, "true")
        if predict.ndim != 2 or true.numel() != len(predict):
            raise ContractError(
                f"true has the shape {tuple(true.shape)} and predict {tuple(predict.shape)}: (N,) and (N, C) are "
                f"expected."
            )
        _inputs.not_empty(true, "true")
        count = predict.shape[1]
        if not 1 <= k <= count:
            raise ContractError(f"k={k}, but there are scores for {count} classes: 1 to {count} is expected.")
        # torchmetrics takes no label outside the classes; as in 0.7.6 such a label counts as wrong.
        chosen = torch.topk(predict, k, dim=1).indices
        return (chosen.eq(true.reshape(-1, 1)).float().sum() / len(predict)).item()


def f_beta(pred: Values, true: Values, beta: float, num_classes: int, average: str = "micro") -> torch.Tensor:
    """Return the F-beta score of predicted labels.

    Parameters
    ----------
    pred : torch.Tensor or array-like
        The predicted labels, whole numbers from 0 to ``num_classes - 1``, of any shape.
    true : torch.Tensor or array-like
        The right labels, of the same shape.
    beta : float
        The weight of recall relative to precision.
    num_classes : int
        The number of classes.
    average : {"micro", "macro"}, optional
        The average over all labels, which is the accuracy, or over the scores of all classes. The score of a class that
        does not occur is 0.

    Returns
    -------
    torch.Tensor
        A scalar on the device of the labels.

    Raises
    ------
    ValueError
        If the shapes differ, a label is out of range, or ``average`` is unknown. Also an `AssertionError`.
    TypeError
        If the labels are no whole numbers.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import f_beta
    >>> f_beta(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 2, 4]), beta=1.0, num_classes=5)
    tensor(0.7500)
    >>> f_beta(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 2, 4]), beta=1.0, num_classes=5, average="macro")
    tensor(0.5333)
    """
    _check_average(average)
    pred, true = _inputs.classes(pred, "pred", num_classes), _inputs.classes(true, "true", num_classes)
    _inputs.same_shape(pred, true, ("pred", "true"))
    per_class = average == "macro"
    score = multiclass_fbeta_score(
        pred.reshape(-1),
        true.reshape(-1),
        beta,
        num_classes,
        average="none" if per_class else "micro",
        validate_args=False,
    )
    # torchmetrics' "macro" leaves out classes that do not occur.
    return score.sum() / num_classes if per_class else score


def f_beta_from_mat(conf_mat: Values, beta: float, num_classes: int, average: str = "micro") -> torch.Tensor:
    """Return the F-beta score of a confusion matrix.

    Parameters
    ----------
    conf_mat : torch.Tensor or array-like
        Counts of shape (C, C): a row for each right label, a column for each predicted one.
    beta : float
        The weight of recall relative to precision.
    num_classes : int
        The number of classes, by which the sum of their scores is divided if ``average`` is "macro".
    average : {"micro", "macro"}, optional
        The average over all labels, which is the accuracy, or over the scores of all classes.

    Returns
    -------
    torch.Tensor
        A scalar on the device of the matrix.

    Raises
    ------
    ValueError
        If the matrix is not square, or ``average`` is unknown. Also an `AssertionError`.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import f_beta_from_mat
    >>> f_beta_from_mat(torch.tensor([[5, 2], [1, 3]]), beta=1.0, num_classes=2)
    tensor(0.7273)
    """
    _check_average(average)
    matrix = _inputs.numbers(conf_mat, "conf_mat")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ContractError(f"conf_mat has the shape {tuple(matrix.shape)}: a square, (C, C), is expected.")
    right, rows, columns = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    if average == "micro":
        right, rows, columns = right.sum(), rows.sum(), columns.sum()
    recall, precision = right / (rows + EPS), right / (columns + EPS)
    score = (1 + beta**2) * recall * precision / (beta**2 * precision + recall + EPS)
    return score.sum() / num_classes if average == "macro" else score


def _check_average(average: str) -> None:
    if average not in ("micro", "macro"):
        raise ContractError(f'average={average!r} is unknown: "micro" or "macro" is expected.')
