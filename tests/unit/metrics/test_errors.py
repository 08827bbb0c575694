"""What cannot be computed is said clearly, where 0.7.6 divided by zero, broadcast or gave something else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from zae_engine import metrics
from zae_engine.metrics import count, signals

LABELS = torch.tensor([0, 1, 2])
PAIRS = [metrics.accuracy, count.Acc.accuracy, metrics.miou, metrics.mse, metrics.peak_signal_to_noise]


@pytest.mark.parametrize("metric", PAIRS)
@pytest.mark.parametrize("error", [ValueError, AssertionError])  # the one that is right, the one of 0.7.6
def test_different_shapes_are_told_of(metric, error):
    with pytest.raises(error, match=r"shape \(3,\) and .* \(3, 1\): they must be equal"):
        metric(torch.ones(3), torch.ones(3, 1))


@pytest.mark.parametrize("metric", PAIRS)
@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError])
def test_nothing_to_compute_from_is_told_of(metric, error):
    with pytest.raises(error, match=r"is empty, of shape \(0,\): a metric needs at least one value"):
        metric(torch.ones(0), torch.ones(0))


def test_nothing_to_compute_a_root_mean_square_from_is_told_of():
    with pytest.raises(ZeroDivisionError, match="signal is empty"):
        metrics.rms(np.ones(0))


@pytest.mark.parametrize(
    "call",
    [
        lambda labels: metrics.confusion_matrix(labels, labels, 3),
        lambda labels: metrics.f_beta(labels, labels, 1.0, 3),
        lambda labels: metrics.BijectiveMetrix(labels, labels, 2),
        lambda labels: metrics.ConfusionMatrix(3).update(labels, labels),
        lambda labels: metrics.FBeta(1.0, 3).update(labels, labels),
    ],
)
def test_labels_out_of_range_and_fractions_are_told_of(call):
    with pytest.raises(ValueError, match=r"labels from 0 to 3, but num_classes=3 means 0 to 2"):
        call(torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"labels from -1 to 2"):
        call(torch.tensor([-1, 2]))
    with pytest.raises(TypeError, match=r"holds torch.float32, but labels are whole numbers.*argmax"):
        call(torch.rand(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy(torch.tensor(1), torch.tensor(1)), r"labels of shape \(N,\) are expected"),
        (lambda: metrics.accuracy("abc", LABELS), "not a tensor or an array of numbers"),
        (lambda: metrics.accuracy(None, LABELS), "not a tensor or an array of numbers"),
        (lambda: metrics.accuracy([[1, 2], [3]], LABELS), "not a tensor or an array of numbers"),
        (lambda: metrics.f_beta(LABELS, LABELS, 1.0, 3, "weighted"), "average='weighted' is unknown: \"micro\" or"),
        (lambda: metrics.FBeta(1.0, 3, "weighted"), "average='weighted' is unknown: \"micro\" or"),
        (lambda: metrics.f_beta_from_mat(torch.ones(2, 3), 1.0, 3), r"shape \(2, 3\): a square, \(C, C\)"),
        (lambda: metrics.print_confusion_matrix(torch.ones(2, 3)), r"shape \(2, 3\): a square, \(C, C\)"),
        (lambda: metrics.print_confusion_matrix(torch.ones(2, 2), class_name=["a"]), "1 names, but .* of 2 classes"),
        (lambda: metrics.miou(torch.ones(2, 2, 2), torch.ones(2, 2, 2)), r"\(L,\) or \(N, L\) is expected"),
        (lambda: metrics.giou(torch.ones(2, 3), torch.ones(2, 3)), r"intervals \(on, off\) of shape"),
        (lambda: metrics.signal_to_noise(torch.zeros(3), torch.ones(3)), "signal is zero throughout"),
        (lambda: metrics.peak_signal_to_noise(-torch.ones(3), torch.ones(3)), r"peak is -1.0: it must be above zero"),
        (lambda: metrics.BijectiveMetrix(torch.ones(2, 3).long(), torch.ones(2, 3).long(), 1), r"of shape \(L,\)"),
        (lambda: metrics.BijectiveMetrix(LABELS, LABELS[:2], 2), "must be equal"),
        (lambda: metrics.BijectiveMetrix([], [], 2), "label is empty"),
        (lambda: signals.qilv(torch.ones(3), torch.ones(3), torch.ones(4)), "W from 1 to L"),
        (lambda: signals.qilv(torch.ones(3), torch.ones(3), torch.tensor([1.0, -1.0])), "adds up to zero"),
        (lambda: count.Acc()(LABELS, torch.ones(2)), "the number of samples, must be the same"),
        (lambda: count.Acc()(LABELS, torch.ones(3, 2, 2)), "or one more for scores"),
        (lambda: count.Acc.top_k_accuracy(LABELS, torch.ones(3, 3), 4), "k=4, but there are scores for 3 classes"),
        (lambda: count.Acc.top_k_accuracy(LABELS, torch.ones(4, 3), 1), r"\(N,\) and \(N, C\) are expected"),
    ],
)
def test_other_mistakes_are_told_of(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_lists_and_series_are_arrays_too():
    assert metrics.accuracy([1, 2, 3], pd.Series([1, 2, 4])).item() == pytest.approx(2 / 3)
    assert torch.equal(
        metrics.confusion_matrix(pd.Series([0, 1]), np.array([0, 0]), 2), torch.tensor([[1.0, 1], [0, 0]])
    )
    assert metrics.rms([3, 4]) == pytest.approx(12.5**0.5)


def test_a_tensor_of_integers_has_a_mean_too():
    assert metrics.rms(torch.tensor([3, 4])) == pytest.approx(12.5**0.5)
    assert metrics.mse(torch.tensor([3, 4]), torch.tensor([3, 6])) == 2


def test_labels_of_several_dimensions_are_all_counted():
    image = torch.tensor([[0, 1], [1, 1]])
    assert torch.equal(metrics.confusion_matrix(image, image, 2), torch.tensor([[1.0, 0], [0, 3]]))
    assert metrics.f_beta(image, image, 1.0, 2).item() == 1


def test_a_matrix_of_shares_is_not_rounded_down():
    counts = np.array([[5, 2], [1, 3]])
    assert torch.allclose(
        metrics.f_beta_from_mat(counts / counts.sum(), 1.0, 2), metrics.f_beta_from_mat(counts, 1.0, 2)
    )


def test_a_bijective_comparison_of_tensors_is_that_of_arrays():
    array = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 2, 2])
    of_tensors = metrics.BijectiveMetrix(torch.from_numpy(array), torch.from_numpy(array), 2)
    assert np.array_equal(of_tensors.bijective_mat, metrics.BijectiveMetrix(array, array, 2).bijective_mat)
    assert of_tensors.bijective_count == 2


def test_only_zeros_have_no_mean_intersection():
    assert metrics.miou(torch.zeros(2, 3), torch.zeros(2, 3)).isnan().all()


def test_names_may_be_a_tuple_and_the_table_shows_every_count(capsys):
    metrics.print_confusion_matrix(torch.tensor([[5, 2], [1, 37]]), class_name=("cat", "dog"))
    printed = capsys.readouterr().out
    assert {"cat", "dog", "5", "2", "1", "37"} <= set(printed.split())


def test_a_label_outside_the_classes_counts_as_wrong_in_top_k_accuracy():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert metrics.count.Acc.top_k_accuracy(torch.tensor([0, 1, 7, -1]), scores, 2) == 0.5
    assert metrics.count.Acc.top_k_accuracy(torch.tensor([0, 3]), torch.ones(2, 1), 1) == 0.5
