"""Gradient averaging: what a backward pass leaves in the gradients, in one process group and in two."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from zae_engine.trainer.distributed.gradients import GradientAveraging
from zae_engine.trainer.distributed.parameters import TrainableParameters


class Holder:
    """Has two layers, as a trainer does; a step may use one or both."""

    def __init__(self):
        self.first, self.second = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
        for layer in (self.first, self.second):
            torch.nn.init.ones_(layer.weight)

    def gradients(self):
        return [None if (g := layer.weight.grad) is None else g.item() for layer in (self.first, self.second)]


def averaging_of(holder, scale=1.0, **kwargs):
    return GradientAveraging(TrainableParameters(holder), lambda: scale, **kwargs)


@pytest.fixture
def group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_every_backward_is_scaled_while_the_context_is_entered(group):
    holder = Holder()
    with averaging_of(holder, scale=0.5):
        holder.first(torch.tensor([[4.0]])).sum().backward()
    assert holder.gradients() == [2.0, None]
    holder.first(torch.tensor([[4.0]])).sum().backward()
    assert holder.gradients() == [6.0, None]


def test_a_pass_of_the_strategy_scales_nothing_that_it_averages(group):
    holder = Holder()
    with averaging_of(holder, scale=0.5) as averaging:
        averaging.exclude(holder.first.parameters())
        with averaging.paused():
            (holder.first(torch.tensor([[4.0]])) + holder.second(torch.tensor([[4.0]]))).sum().backward()
    assert holder.gradients() == [4.0, 4.0]


def test_only_parameters_outside_the_strategy_get_hooks_if_not_all_passes_are_averaged(group):
    holder = Holder()
    with averaging_of(holder, scale=0.5, all_passes=False) as averaging:
        averaging.exclude(holder.first.parameters())
        (holder.first(torch.tensor([[4.0]])) + holder.second(torch.tensor([[4.0]]))).sum().backward()
    assert holder.gradients() == [4.0, 2.0]


def test_a_new_parameter_gets_its_hook_at_the_next_refresh(group):
    holder = Holder()
    with averaging_of(holder, scale=0.5) as averaging:
        holder.third = torch.nn.Linear(1, 1, bias=False)
        averaging.refresh()
        holder.third(torch.tensor([[4.0]])).sum().backward()
    assert holder.third.weight.grad.item() == 2.0


def test_a_parameter_that_is_unfrozen_gets_its_hook_at_the_next_refresh(group):
    holder = Holder()
    holder.first.requires_grad_(False)
    with averaging_of(holder, scale=0.5) as averaging:
        holder.first.requires_grad_(True)
        averaging.refresh()
        holder.first(torch.tensor([[4.0]])).sum().backward()
    assert holder.gradients() == [2.0, None]


def test_a_sparse_gradient_is_made_dense(group):
    holder = Holder()
    holder.embedding = torch.nn.Embedding(3, 2, sparse=True)
    with averaging_of(holder):
        holder.embedding(torch.tensor([1])).sum().backward()
    assert holder.embedding.weight.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]


def _two_ranks(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    results = {}
    x = torch.tensor([[2.0 * rank + 1]])  # 1 on rank 0, 3 on rank 1

    holder = Holder()
    with averaging_of(holder):
        (holder.first(x) + holder.second(x)).sum().backward()
    results["both"] = holder.gradients()

    holder = Holder()
    with averaging_of(holder):
        (holder.first(x) if rank == 0 else holder.second(x)).sum().backward()
    results["different branches"] = holder.gradients()

    holder = Holder()
    with averaging_of(holder):
        for _ in range(2):
            holder.first(x).sum().backward()
    results["accumulated"] = holder.gradients()

    holder = Holder()
    holder.second.double()
    with averaging_of(holder, scale=[0.5, 1.5][rank]):
        (holder.first(x) + holder.second(x.double())).sum().backward()
    results["weighted, of two dtypes"] = holder.gradients()

    dist.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(results, file)


def test_two_ranks_have_the_mean_of_their_gradients(tmp_path):
    mp.spawn(_two_ranks, args=(str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first == {
        "both": [2.0, 2.0],
        "different branches": [0.5, 1.5],
        # The second backward averages the sum of the averaged gradient (2) and the rank's own gradient (1 or 3).
        "accumulated": [4.0, None],
        "weighted, of two dtypes": [2.5, 2.5],
    }
