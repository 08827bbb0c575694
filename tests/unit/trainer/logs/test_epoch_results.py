"""Epoch results: which values become means, floats and logged scalars, and under which names."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from zae_engine.trainer.logs import epoch_results as module
from zae_engine.trainer.logs.epoch_log import EpochLog
from zae_engine.trainer.logs.epoch_results import epoch_results, fetch_scalars, merge_metrics, scalars, to_floats


class Unconvertible:
    def __float__(self):
        raise RuntimeError("no number")


def test_means_of_numbers_are_named_after_mode_and_key():
    log = {"loss": [torch.tensor(1.0), torch.tensor(3.0)], "acc": [0.5, 1.0]}
    assert epoch_results(log, "test", {}) == {"test_loss": 2.0, "test_acc": 0.75}


def test_outputs_texts_and_keys_to_leave_out_are_no_results():
    log = {"loss": [1.0], "my_output": [1.0], "name": ["a"], "preds": [1.0], "shapes": [torch.ones(2), torch.ones(3)]}
    assert epoch_results(log, "train", {}, left_out={"preds"}) == {"train_loss": 1.0}


def test_a_metric_with_the_name_of_a_mean_does_not_replace_it():
    assert epoch_results({"acc": [0.5]}, "test", {"acc": 0.9, "f1": 0.7}) == {
        "test_acc": 0.5,
        "test_acc_metric": 0.9,
        "test_f1": 0.7,
    }
    assert merge_metrics({"acc": 1}, {"acc": 2, "f1": 3}) == {"acc": 1, "acc_metric": 2, "f1": 3}


def test_the_log_is_not_filled_by_its_results():
    log = EpochLog()
    log.add("loss", torch.tensor(2.0))
    assert epoch_results(log, "train", {}) == {"train_loss": 2.0}
    assert not log._was_read


def test_a_plain_log_of_a_subclass_gives_results_too():
    log = defaultdict(list, loss=[1.0, 2.0])
    assert epoch_results(log, "train", {}) == {"train_loss": 1.5}


def test_floats_are_taken_from_scalars_of_all_kinds():
    values = {"a": torch.tensor([0.5]), "b": np.float32(0.25), "c": 3, 4: True, "d": torch.tensor(2)}
    assert to_floats(values) == {"a": 0.5, "b": 0.25, "c": 3.0, "4": 1.0, "d": 2.0}


@pytest.mark.parametrize(
    "value", [torch.ones(2), "1.5", b"1", None, [1], {"a": 1}, torch.tensor(1j), 10**400, Unconvertible()]
)
def test_what_is_no_single_number_is_left_out(value):
    assert to_floats({"value": value}) == {}


def test_the_output_of_a_batch_of_one_is_no_scalar():
    values = {"output": torch.ones(1), "n_outputs": torch.tensor(3.0), "loss": torch.ones(1)}
    assert to_floats(values) == {"n_outputs": 3.0, "loss": 1.0}
    assert scalars(values) == ({"n_outputs": 3.0, "loss": 1.0}, False)


def test_scalars_of_another_device_stay_there_until_they_are_fetched(monkeypatch):
    monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)
    found, has_tensors = scalars({"loss": torch.tensor([0.5]), "n": 3, "wide": torch.ones(4), "z": torch.tensor(1j)})
    assert has_tensors
    assert found.keys() == {"loss", "n"}
    assert isinstance(found["loss"], torch.Tensor)
    assert found["loss"].shape == ()


def test_scalars_of_several_steps_and_dtypes_are_fetched_in_their_places():
    steps = [
        {
            "loss": torch.tensor(i / 2),
            "count": torch.tensor(i),
            "half": torch.tensor(i, dtype=torch.bfloat16),
            "lr": 0.1,
        }
        for i in range(3)
    ]
    fetched = fetch_scalars(steps)
    assert fetched == [{"loss": i / 2, "count": float(i), "half": float(i), "lr": 0.1} for i in range(3)]
    assert all(type(value) is float for step in fetched for value in step.values())


def test_an_empty_log_has_no_results_and_an_empty_key_is_nan():
    assert epoch_results({}, "train", {}) == {}
    assert math.isnan(epoch_results({"loss": []}, "train", {})["train_loss"])
