"""Reductions: means of logs are exact for decisions and cheap for displays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zae_engine.trainer.logs.reductions import RunningMeans, mean


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
