"""Bijective: compare two sequences of labels run by run instead of position by position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .._errors import ContractError
from . import _inputs
from ._inputs import Values
from .confusion import print_confusion_matrix
from .count import f_beta_from_mat
from .iou import giou
from .runs import Run, find_runs

GAP = 5  # runs with at most this many positions between them are merged
OVERLAP = 0.5  # two runs are a pair if their `giou` is above this value


class BijectiveMetrix:
    """Confusion matrices, F1 scores and accuracies of the runs of two sequences.

    A run is a stretch of one label other than 0. The "injective" view matches each predicted run with the nearest right
    run, the "surjective" view each right run with the nearest predicted run. The "bijective" view contains the pairs
    that both views have.

    Parameters
    ----------
    prediction : torch.Tensor or array-like
        The predicted labels, of shape (L,), whole numbers from 0 to ``num_classes``.
    label : torch.Tensor or array-like
        The right labels, of the same shape.
    num_classes : int
        The number of classes, 0 not counted.
    th_run_length : int, optional
        The shortest run that counts, in positions, by default 2.

    Attributes
    ----------
    pred_runs, label_runs : list of Run
        The runs with ``start_index``, ``end_index`` and ``value``.
    pred_array, label_array : numpy.ndarray
        The sequences that consist of these runs, of shape (L,).
    bijective_run_pair, injective_run_pair, surjective_run_pair : torch.Tensor
        Pairs of shape (P, 4): the number of the predicted run, the number of the right run, and their labels.
    bijective_mat, injective_mat, surjective_mat : numpy.ndarray
        Counts of shape (C + 1, C + 1), where C is ``num_classes``: a row for each right label.
    bijective_count, injective_count, surjective_count : int
        The sums of these matrices.
    bijective_f1, injective_f1, surjective_f1 : torch.Tensor
        The F1 score of each matrix without label 0, over all counts.
    bijective_acc, injective_acc, surjective_acc : float
        The accuracy of each matrix without label 0.

    Raises
    ------
    ValueError
        If the shapes differ or are not (L,), the sequences are empty, or a label is out of range. Also an
        `AssertionError`, as in 0.7.6.
    TypeError
        If the labels are no whole numbers.

    Examples
    --------
    >>> from zae_engine.metrics import BijectiveMetrix
    >>> result = BijectiveMetrix([0, 1, 1, 1] + 9 * [0] + [2, 2, 2], [0, 1, 1, 1] + 9 * [0] + [1, 1, 1], num_classes=2)
    >>> result.bijective_mat
    array([[0, 0, 0],
           [0, 1, 1],
           [0, 0, 0]], dtype=int32)
    """

    def __init__(self, prediction: Values, label: Values, num_classes: int, th_run_length: int = 2) -> None:
        self.num_classes = num_classes
        self.eps = torch.finfo(torch.float32).eps
        predicted = _inputs.classes(prediction, "prediction", num_classes + 1)
        right = _inputs.classes(label, "label", num_classes + 1)
        _inputs.same_shape(predicted, right, ("prediction", "label"))
        if right.ndim != 1:
            raise ContractError(f"label has the shape {tuple(right.shape)}: one sequence, of shape (L,), is expected.")
        _inputs.not_empty(right, "label")

        self.pred_run_list = find_runs(predicted.cpu().numpy(), th_run_length, GAP)
        self.label_run_list = find_runs(right.cpu().numpy(), th_run_length, GAP)
        self.pred_runs, self.pred_array = self.pred_run_list.all_runs, self.pred_run_list.decode()
        self.label_runs, self.label_array = self.label_run_list.all_runs, self.label_run_list.decode()

        self.bijective_run_pair, self.injective_run_pair, self.surjective_run_pair = self.run_pairing()
        self.injective_mat = self.map_and_confusion(self.pred_runs, self.label_array).transpose()
        self.surjective_mat = self.map_and_confusion(self.label_runs, self.pred_array)
        self.bijective_mat = self.bijective_confusion()
        self.injective_count, self.surjective_count = self.injective_mat.sum(), self.surjective_mat.sum()
        self.bijective_count = self.bijective_mat.sum()
        self.bijective_f1, self.bijective_acc = scores(self.bijective_mat)
        self.injective_f1, self.injective_acc = scores(self.injective_mat)
        self.surjective_f1, self.surjective_acc = scores(self.surjective_mat)

    def run_pairing(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the pairs of runs of the bijective, the injective and the surjective view.

        Returns
        -------
        tuple of torch.Tensor
            Three tensors of int32, of shape (P, 4); see ``bijective_run_pair``.
        """
        if not self.pred_runs or not self.label_runs:
            nothing = torch.empty((0, 4), dtype=torch.int)
            return nothing, nothing.clone(), nothing.clone()
        predicted, right = _table(self.pred_runs), _table(self.label_runs)
        indices, nearest = torch.arange(len(predicted)), _nearest(right[:, 0], predicted[:, 0])
        near = giou(predicted[:, :2], right[nearest, :2]) > OVERLAP
        injective = torch.stack([indices, nearest, predicted[:, 2], right[nearest, 2]], 1)[near]
        indices, nearest = torch.arange(len(right)), _nearest(predicted[:, 0], right[:, 0])
        near = giou(right[:, :2], predicted[nearest, :2]) > OVERLAP
        surjective = torch.stack([nearest, indices, predicted[nearest, 2], right[:, 2]], 1)[near]
        mutual = (injective[:, None] == surjective[None]).all(2).any(1)
        return injective[mutual].int(), injective.int(), surjective.int()

    def map_and_confusion(self, x_runs: list[Run], y_array: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count the most frequent label of a sequence at the positions of each run.

        Parameters
        ----------
        x_runs : list of Run
            The runs.
        y_array : numpy.ndarray
            The sequence, of shape (L,).

        Returns
        -------
        numpy.ndarray
            Counts of shape (C + 1, C + 1): a row for each label of the runs, a column for each of the sequence.
        """
        matrix = np.zeros((self.num_classes + 1, self.num_classes + 1), dtype=np.int32)
        for run in x_runs:
            within = y_array[run.start_index : run.end_index + 1]
            matrix[run.value, np.bincount(within).argmax() if len(within) else 0] += 1
        return matrix

    def bijective_confusion(self) -> NDArray[np.int32]:
        """Count the pairs of runs of the bijective view by their labels.

        Returns
        -------
        numpy.ndarray
            Counts of shape (C + 1, C + 1): a row for each right label, a column for each predicted one.
        """
        matrix = np.zeros((self.num_classes + 1, self.num_classes + 1), dtype=np.int32)
        for _, _, predicted, right in self.bijective_run_pair.tolist():
            matrix[right, predicted] += 1
        return matrix

    def summary(self, class_name: Sequence[str] | None = None) -> None:
        """Print counts, scores and the bijective confusion matrix.

        Parameters
        ----------
        class_name : sequence of str, optional
            Names of the ``num_classes + 1`` labels, with the name of label 0 first.
        """
        lines = {
            "# of samples in bijective confusion mat": ("count", "{}", 1),
            "F-beta score from bijective metric": ("f1", "{:.2f}%", 100),
            "Accuracy from bijective metric": ("acc", "{:.2f}%", 100),
        }
        for title, (name, form, factor) in lines.items():
            views = {"Bi": "bijective", "Inj": "injective", "Sur": "surjective"}
            values = (
                f"{short}: {form.format(factor * getattr(self, f'{view}_{name}'))}" for short, view in views.items()
            )
            print(f"\t\t{title} -> {' / '.join(values)}")
        print_confusion_matrix(self.bijective_mat, class_name=class_name)
        n_pairs = self.bijective_mat[1:, 1:].sum()
        share = 100 * n_pairs / (self.bijective_count + self.eps)
        print(f"Beat Acc : {n_pairs} / {self.bijective_count} -> {share:.2f}%\n")


def scores(matrix: NDArray[np.int32]) -> tuple[torch.Tensor, float]:
    """Return the F1 score over all counts, and the accuracy, of a confusion matrix without label 0."""
    inner = matrix[1:, 1:]
    f1 = f_beta_from_mat(inner, beta=1, num_classes=len(inner))
    return f1, inner.trace() / (inner.sum() + torch.finfo(torch.float32).eps)


def _table(runs: list[Run]) -> torch.Tensor:
    """Return start, end and label of each run, of shape (R, 3)."""
    return torch.tensor([(run.start_index, run.end_index, run.value) for run in runs])


def _nearest(positions: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the index of the nearest position for each value, of two the left one. The positions are sorted."""
    positions, values = positions.contiguous(), values.contiguous()
    right = torch.searchsorted(positions, values).clamp(max=len(positions) - 1)
    left = (right - 1).clamp(min=0)
    return torch.where((values - positions[left]).abs() <= (positions[right] - values).abs(), left, right)
