"""Sharding: the indices and the weight of each rank in each step."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, IterableDataset

from zae_engine.trainer.distributed.sharding import ShardedLoader, shard_batches
from zae_engine.trainer.distributed.world import World


def shares_of(batches, size, split_rest=True, drop_rest=False):
    ranks = [shard_batches(batches, rank, size, split_rest, drop_rest) for rank in range(size)]
    return [[(share.weight, indices) for share, indices in steps] for steps in zip(*ranks, strict=True)]


def batches(n, b):
    return [list(range(start, min(start + b, n))) for start in range(0, n, b)]


def test_a_step_takes_a_batch_for_each_rank_in_order():
    assert shares_of(batches(8, 2), 2) == [[(0.5, [0, 1]), (0.5, [2, 3])], [(0.5, [4, 5]), (0.5, [6, 7])]]


def test_a_smaller_batch_weighs_less():
    [*_, last] = shares_of(batches(7, 2), 2)
    assert last == [(2 / 3, [4, 5]), (1 / 3, [6])]


def test_an_incomplete_step_is_split_evenly_in_training():
    assert shares_of(batches(9, 4), 2)[-1] == [(1.0, [8]), (0.0, [8])]
    assert shares_of(batches(12, 4), 2)[-1] == [(0.5, [8, 9]), (0.5, [10, 11])]
    assert shares_of([[0, 1, 2, 3], [4, 5, 6]], 3)[-1] == [(3 / 7, [0, 1, 2]), (2 / 7, [3, 4]), (2 / 7, [5, 6])]


def test_whole_batches_are_kept_in_testing():
    assert shares_of(batches(6, 2), 2, split_rest=False)[-1] == [(1.0, [4, 5]), (0.0, [4, 5])]


def test_the_rest_is_dropped_where_the_loader_drops_its_last():
    assert len(shares_of(batches(6, 2), 2, drop_rest=True)) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 12, 23])
def test_each_sample_is_used_once_and_the_weights_of_a_step_sum_to_one(size, n):
    steps = shares_of(batches(n, 3), size)
    used = [index for step in steps for weight, indices in step if weight for index in indices]
    assert sorted(used) == list(range(n))
    assert all(sum(weight for weight, _ in step) == pytest.approx(1) for step in steps)


def test_a_loader_without_batches_has_single_indices():
    assert shares_of([3, 1, 2], 2) == [[(0.5, 3), (0.5, 1)], [(1.0, 2), (0.0, 2)]]


class Stream(IterableDataset):
    """Knows its rank, and reads its part only."""

    def __init__(self, num_replicas):
        self.num_replicas, self.rank, self.n_read = num_replicas, 0, 0

    def __iter__(self):
        for index in range(self.rank, 12, self.num_replicas):
            self.n_read += 1
            yield index


def test_an_iterable_dataset_that_knows_its_rank_reads_its_part_only():
    for rank in range(3):
        stream = Stream(3)
        loader = ShardedLoader(DataLoader(stream, 2), World(rank, 3, rank, 3), lambda: True)
        assert [index for batch in loader for index in batch.tolist()] == list(range(rank, 12, 3))
        assert stream.n_read == 4
        assert loader.share_of(0).weight == pytest.approx(1 / 3)


def test_an_iterable_dataset_for_another_number_of_processes_is_refused():
    with pytest.raises(ValueError, match="Stream of the loader is for num_replicas=4, but there are 3 processes"):
        ShardedLoader(DataLoader(Stream(4), 2), World(0, 3, 0, 3), lambda: True)
