"""Epoch metrics: torchmetrics are updated by mode, computed once an epoch, and can be saved within an epoch."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torchmetrics

from zae_engine.trainer.checkpoint.encoding import decode, encode
from zae_engine.trainer.logs.epoch_metrics import EpochMetrics, default_inputs, is_metric, tensors_of

CPU = torch.device("cpu")
RIGHT, WRONG = (torch.tensor([0, 1]), torch.tensor([0, 1])), (torch.tensor([0, 0]), torch.tensor([1, 1]))


def accuracy():
    return torchmetrics.Accuracy(task="multiclass", num_classes=2)


def test_no_metrics_are_false_and_take_no_inputs():
    metrics = EpochMetrics()
    assert not metrics
    assert metrics.inputs == frozenset()
    metrics.update("train", None, CPU)
    assert metrics.compute("train") == {}


def test_training_and_testing_have_separate_states():
    metrics = EpochMetrics({"acc": accuracy()})
    for mode, inputs in (("train", RIGHT), ("test", WRONG)):
        metrics.begin(mode)
        metrics.update(mode, inputs, CPU)
    assert metrics.compute("train") == {"acc": 1.0}
    assert metrics.compute("test") == {"acc": 0.0}


def test_the_users_metric_is_not_changed():
    own = accuracy()
    metrics = EpochMetrics({"acc": own})
    metrics.update("train", RIGHT, CPU)
    assert own.update_count == 0


def test_an_epoch_begins_with_reset_metrics():
    metrics = EpochMetrics({"acc": accuracy()})
    metrics.update("train", WRONG, CPU)
    metrics.begin("train")
    metrics.update("train", RIGHT, CPU)
    assert metrics.compute("train") == {"acc": 1.0}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (lambda: accuracy(), {"multiclassaccuracy"}),
        (lambda: torchmetrics.MetricCollection({"a": accuracy(), "b": accuracy()}), {"a", "b"}),
        (lambda: {"both": torchmetrics.MetricCollection({"a": accuracy(), "b": accuracy()})}, {"both_a", "both_b"}),
    ],
)
def test_a_metric_and_a_collection_need_no_dict(given, names):
    metrics = EpochMetrics(given())
    metrics.update("test", RIGHT, CPU)
    assert metrics.compute("test") == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize("wrong", [0.5, {"acc": 0.5}, [accuracy], {"acc": torchmetrics.Accuracy}])
def test_what_is_no_metric_is_refused_with_an_example(wrong):
    with pytest.raises(TypeError, match=r"metrics=.* is no dict of names and torchmetrics, such as"):
        EpochMetrics(wrong)


def test_named_inputs_are_passed_to_the_metrics_that_take_them():
    both = torchmetrics.MetricCollection({"a": accuracy()})
    metrics = EpochMetrics({"mean": torchmetrics.MeanMetric(), "acc": accuracy(), "both": both})
    metrics.update("train", {"preds": RIGHT[0], "target": RIGHT[1], "value": torch.tensor(3.0)}, CPU)
    assert metrics.compute("train") == {"mean": 3.0, "acc": 1.0, "both_a": 1.0}


def test_a_metric_of_several_values_gives_several_results():
    metrics, returned = EpochMetrics(), torchmetrics.MetricCollection({"a": accuracy()})
    returned.update(*RIGHT)
    metrics.add_step_metric("test", "own", returned)
    assert metrics.compute("test") == {"own_a": 1.0}


def test_a_metric_that_a_step_returned_is_computed_once_and_reset():
    metrics, returned = EpochMetrics(), accuracy()
    returned.update(*WRONG)
    metrics.add_step_metric("train", "acc", returned)
    assert metrics.compute("test") == {}
    assert metrics.compute("train") == {"acc": 0.0}
    assert metrics.compute("train") == {}
    assert returned.update_count == 0


def test_a_result_of_several_elements_stays_a_tensor():
    metrics = EpochMetrics({"matrix": torchmetrics.ConfusionMatrix(task="multiclass", num_classes=2)})
    metrics.update("test", RIGHT, CPU)
    assert metrics.compute("test")["matrix"].tolist() == [[1, 0], [0, 1]]


def test_steps_without_inputs_cost_one_warning_a_mode_and_no_results():
    metrics = EpochMetrics({"acc": accuracy()})
    metrics.update("train", None, CPU)
    with pytest.warns(UserWarning, match='train_step returned no "preds" and "target"'):
        assert metrics.compute("train") == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.compute("train") == {}


@pytest.mark.parametrize("collection", [False, True])
def test_a_state_within_an_epoch_can_be_saved_and_loaded(collection):
    given = torchmetrics.MetricCollection({"a": accuracy(), "mean": accuracy()}) if collection else {"a": accuracy()}
    metrics, twin = EpochMetrics(given), EpochMetrics(copy.deepcopy(given))
    metrics.update("train", RIGHT, CPU)
    metrics.update("train", WRONG, CPU)
    state = decode(encode(metrics.state("train")))
    assert state.keys() == {"fed", "members"}  # a format on disk
    twin.load("train", state)
    for each in (metrics, twin):
        each.update("train", RIGHT, CPU)
    assert twin.compute("train") == metrics.compute("train")
    assert metrics.compute("train")["a"] == pytest.approx(2 / 3)


def test_a_metric_that_the_state_lacks_is_reset():
    metrics = EpochMetrics({"new": accuracy()})
    metrics.update("train", WRONG, CPU)
    metrics.load("train", {"fed": 1, "members": {}})
    metrics.update("train", RIGHT, CPU)
    assert metrics.compute("train") == {"new": 1.0}


def test_metrics_are_told_apart_from_other_values():
    assert is_metric(accuracy())
    assert is_metric(torchmetrics.MetricCollection([accuracy()]))
    assert not is_metric(torchmetrics.Accuracy)
    assert not is_metric(torch.tensor(1.0))


def test_inputs_need_predictions_and_targets():
    assert default_inputs({"preds": 1, "target": 2, "loss": 3}) == (1, 2)
    assert default_inputs({"preds": 1, "loss": 3}) is None
    assert list(tensors_of((1, 2))) == list(tensors_of({"preds": 1, "target": 2})) == [1, 2]
