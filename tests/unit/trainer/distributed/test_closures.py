"""Closures: the loss that an optimizer's closure returns is the mean over the ranks."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from zae_engine.trainer.distributed.closures import closure_of, mean_of_ranks, with_closure
from zae_engine.trainer.distributed.gradients import GradientAveraging

CPU = torch.device("cpu")


def test_the_closure_is_found_and_replaced_where_it_is():
    first, second, optimizer = (lambda: 1), (lambda: 2), object()
    assert closure_of((optimizer,), {"closure": first}) is first
    assert closure_of((optimizer, first), {}) is first
    assert closure_of((optimizer,), {}) is None
    assert closure_of((optimizer, None), {"closure": None}) is None
    assert with_closure((optimizer, first, 3), {"a": 4}, second) == ((optimizer, second, 3), {"a": 4})
    assert with_closure((optimizer,), {"closure": first}, second) == ((optimizer,), {"closure": second})


def exchange(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    loss = torch.tensor(1.0 + rank, requires_grad=True)
    scale = (1.5, 0.5)[rank]  # rank 0 has three times as many samples
    weight = torch.nn.Parameter(torch.ones(1))
    seen = []

    class Reads(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(closure())

    with GradientAveraging(lambda search: [weight], lambda: scale) as averaging:
        averaging.refresh(search=True)
        Reads([weight], 0.1).step(lambda: loss)
        Reads([torch.nn.Parameter(torch.ones(1))], 0.1).step(lambda: loss)  # of something else

        def in_the_strategy():
            with averaging.paused():
                return loss * scale

        Reads([weight], 0.1).step(in_the_strategy)
    Reads([weight], 0.1).step(lambda: loss)
    means = [mean_of_ranks(value, scale, CPU) for value in (loss, 1.0 + rank, None)]
    torch.save((means, [float(value) for value in seen], float(loss)), f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture
def exchanged(tmp_path):
    mp.spawn(exchange, (str(tmp_path),), nprocs=2)
    return [torch.load(tmp_path / str(rank), weights_only=False) for rank in (0, 1)]


def test_all_ranks_get_the_mean_by_their_samples(exchanged):
    for means, seen, own in exchanged:
        assert (float(means[0]), means[1], means[2]) == (1.25, 1.25, None)
        assert not means[0].requires_grad
        assert seen == [1.25, own, 1.25, own]
