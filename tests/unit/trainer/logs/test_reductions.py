"""Reductions: means of logs are exact for decisions and cheap for displays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zae_engine.trainer.logs.epoch_log import EpochLog
from zae_engine.trainer.logs.reductions import RunningMeans, mean
from zae_engine.trainer.logs.value_buffer import ValueBuffer


@pytest.mark.parametrize("n", [1, 7, 8, 129, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_mean_is_numpys_to_the_last_bit(n, dtype):
    values = list((torch.randn(n) * 100).to(dtype))
    assert mean(values) == np.mean(values).item()


def test_mean_of_mixed_numbers_is_numpys():
    values = [torch.tensor(0.1), 0.2, 3, torch.tensor(0.3, dtype=torch.float64)]
    assert mean(values) == np.mean(values).item()
    assert mean([torch.tensor(3), torch.tensor(5.5)]) == np.mean([torch.tensor(3), torch.tensor(5.5)]).item()


def test_mean_of_nothing_is_nan_and_warns_of_nothing(recwarn):
    assert math.isnan(mean([]))
    assert not recwarn.list


def test_mean_knows_bfloat16():
    assert mean([torch.tensor(1.0).bfloat16(), torch.tensor(2.0).bfloat16()]) == 1.5


def test_mean_of_different_shapes_is_an_error():
    with pytest.raises(ValueError, match="different shapes"):
        mean([torch.ones(2), torch.ones(3)])


def test_running_means_follow_a_log_and_leave_out_outputs_and_words():
    log = {"loss": [1.0], "my_output": [torch.ones(3)], "name": ["a"], "empty": []}
    means = RunningMeans(log)
    assert means.read() == {"loss": 1.0}
    log["loss"] += [2.0, torch.tensor(6.0)]
    assert means.read() == {"loss": 3.0}
    log["loss"].clear()
    log["loss"] += [5.0]
    assert means.read() == {"loss": 5.0}


def test_running_means_read_each_value_once():
    class Counted(list):
        read = 0

        def __getitem__(self, index):
            part = super().__getitem__(index)
            Counted.read += len(part)
            return part

    log = {"loss": Counted()}
    means = RunningMeans(log)
    for i in range(100):
        log["loss"].append(float(i))
        means.read()
    assert Counted.read == 100


def test_a_buffer_with_sizes_has_a_mean_over_samples():
    losses = ValueBuffer([torch.tensor(1.0), torch.tensor(4.0)], [3, torch.tensor(1)])
    assert mean(losses) == 1.75
    assert mean(ValueBuffer([1.0, torch.tensor(4.0, dtype=torch.float64)], [3, 1])) == 1.75
    assert mean(ValueBuffer([torch.tensor([0.0, 2.0]), torch.tensor([3.0, 5.0])], [3, 1])) == 1.75


def test_a_value_of_no_samples_does_not_count():
    assert mean(ValueBuffer([torch.tensor(1.0), torch.tensor(float("nan"))], [2, 0])) == 1.0
    assert math.isnan(mean(ValueBuffer([1.0], [0])))


def test_a_buffer_with_too_few_sizes_has_a_mean_over_batches():
    assert mean(ValueBuffer([1.0, 4.0], [3])) == 2.5


@pytest.mark.parametrize(
    ("values", "error"),
    [([torch.ones(2), torch.ones(3)], ValueError), ([1j, 2j], TypeError), (["a", "b"], (TypeError, ValueError))],
)
def test_what_has_no_mean_over_batches_has_none_over_samples(values, error):
    with pytest.raises(error):
        mean(ValueBuffer(values, [1, 1]))


def test_running_means_over_samples_follow_a_log():
    log = EpochLog()
    means = RunningMeans(log)
    log.add("loss", torch.tensor(1.0), 3)
    log.add("batch_size", 3, 3)
    assert means.read() == {"loss": 1.0}
    log.add("loss", torch.tensor(4.0), 1)
    log.add("empty", torch.tensor(1.0), 0)
    assert means.read() == {"loss": 1.75}
