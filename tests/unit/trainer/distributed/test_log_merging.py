"""Log merging: the log of all ranks equals the log of one process."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from zae_engine.trainer.distributed.log_merging import BatchShare, LogTracker, merge, merged_sizes


def log_of(shares, **log):
    tracker = LogTracker()
    for position, share in enumerate(shares):
        tracker.share = share
        for key, values in log.items():
            if position < len(values):
                tracker.record(key)
    return tracker.entries_with_shares(log)


def merged(first, second, training=True):
    return merge([first, second], training)


FULL, PART = [BatchShare(0, 0.5, 2), BatchShare(1, 2 / 3, 2)], [BatchShare(0, 0.5, 2), BatchShare(1, 1 / 3, 1)]


def test_a_training_step_is_the_mean_over_the_ranks_by_their_samples():
    first = log_of(FULL, loss=[torch.tensor(1.0), torch.tensor(3.0)], acc=[1.0, 0.0])
    second = log_of(PART, loss=[torch.tensor(2.0), torch.tensor(6.0)], acc=[0.0, 3.0])
    log = merged(first, second)
    assert [float(value) for value in log["loss"]] == [1.5, 4.0]
    assert log["acc"] == [0.5, 1.0]


def test_outputs_and_rows_are_joined():
    first = log_of(FULL, output=[torch.tensor([0, 1]), torch.tensor([4, 5])], rows=[np.array([1, 2]), np.array([5, 6])])
    second = log_of(PART, output=[torch.tensor([2, 3]), torch.tensor([6])], rows=[np.array([3, 4]), np.array([7])])
    log = merged(first, second)
    assert [value.tolist() for value in log["output"]] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [value.tolist() for value in log["rows"]] == [[1, 2, 3, 4], [5, 6, 7]]


def test_a_vector_that_has_no_row_a_sample_is_averaged():
    first, second = (log_of(FULL[:1], classes=[torch.full((10,), value)]) for value in (1.0, 3.0))
    assert merged(first, second)["classes"][0].tolist() == [2.0] * 10


def test_a_value_without_a_mean_is_that_of_the_first_rank():
    first = log_of(FULL[:1], name=["a"], none=[None], shapes=[torch.ones(3)])
    second = log_of(FULL[:1], name=["b"], none=[None], shapes=[torch.ones(5)])
    log = merged(first, second)
    assert (log["name"], log["none"]) == (["a"], [None])
    assert log["shapes"][0].shape == (3,)


def test_a_padding_batch_is_left_out():
    first = log_of([BatchShare(0, 0.5), BatchShare(1, 1.0)], loss=[torch.tensor(1.0), torch.tensor(5.0)])
    second = log_of([BatchShare(0, 0.5), BatchShare(1, 0.0)], loss=[torch.tensor(3.0), torch.tensor(9.0)])
    assert [float(value) for value in merged(first, second)["loss"]] == [2.0, 5.0]


def test_entries_of_tests_are_in_the_order_of_the_loader():
    first = log_of([BatchShare(0, 0.5), BatchShare(1, 1.0)], output=["batch 0", "batch 2"])
    second = log_of([BatchShare(0, 0.5), BatchShare(1, 0.0)], output=["batch 1", "batch 0 again"])
    assert merged(first, second, training=False)["output"] == ["batch 0", "batch 1", "batch 2"]


def test_a_log_that_was_not_written_by_logging_is_merged_by_position():
    first, second = (
        LogTracker().entries_with_shares({"loss": [1.0, 2.0]}),
        LogTracker().entries_with_shares({"loss": [3.0, 4.0]}),
    )
    assert merged(first, second)["loss"] == [2.0, 3.0]


def test_a_merged_entry_is_no_view_of_a_stack():
    first, second = (
        log_of([BatchShare(0, 0.5), BatchShare(1, 0.5)], output=list(torch.ones(2, 1000))) for _ in range(2)
    )
    for training in (True, False):
        entry = merged(first, second, training)["output"][0]
        assert entry.untyped_storage().nbytes() == entry.numel() * entry.element_size()


def weighted_log_of(shares, samples, values):
    tracker = LogTracker()
    for share, number in zip(shares, samples, strict=True):
        tracker.share = share
        tracker.record("loss", number)
    return tracker.entries_with_shares({"loss": values})


def test_the_samples_of_the_ranks_add_up_in_training_and_weigh_their_values():
    first = weighted_log_of(FULL, [3, torch.tensor(2)], [torch.tensor(1.0), torch.tensor(2.0)])
    second = weighted_log_of(PART, [1, 1], [torch.tensor(5.0), torch.tensor(2.0)])
    assert merged_sizes([first, second], training=True) == {"loss": [4, 3]}
    assert merge([first, second], training=True) == {"loss": [2.0, 2.0]}


def test_each_batch_keeps_its_samples_in_testing():
    first = weighted_log_of(FULL, [3, 2], [1.0, 2.0])
    second = weighted_log_of([BatchShare(0, 0.5, 2), BatchShare(1, 0.0)], [1, 9], [5.0, 6.0])
    assert merge([first, second], training=False) == {"loss": [1.0, 5.0, 2.0]}
    assert merged_sizes([first, second], training=False) == {"loss": [3, 1, 2]}


def test_without_numbers_of_samples_there_are_none():
    assert merged_sizes([log_of(FULL, loss=[1.0, 2.0])], training=True) == {}


def batches_of(kind):
    yield from ([torch.zeros(2), i] if kind == "list" else {"text": ["a", "b"], "x": torch.zeros(2)} for i in range(2))


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_a_registered_batch_selects_its_share(kind):
    tracker, batches = LogTracker(), list(batches_of(kind))
    for batch, share in zip(batches, FULL, strict=True):
        tracker.begin_batch(batch, share)
    for batch, share in zip(batches, FULL, strict=True):
        tracker.select(batch)
        assert tracker.share is share


@pytest.mark.parametrize("content", [[torch.zeros(2)], ["text"]], ids=["tensor", "no tensor"])
def test_another_batch_at_the_address_of_a_freed_one_leaves_the_share(content):
    tracker = LogTracker()
    batch = list(content)
    tracker.begin_batch(batch, FULL[0])
    tracker.share = FULL[1]
    if isinstance(content[0], torch.Tensor):
        batch[0] = torch.ones(2)  # as a list that Python makes at the same address
        tracker.select(batch)
    del batch
    content.clear()
    tracker.select(["text"])
    assert tracker.share is FULL[1]


def test_the_shares_keep_no_batch_of_tensors():
    tracker, tensor = LogTracker(), torch.zeros(2)
    tracker.begin_batch({"text": ["a", "b"], "x": tensor}, FULL[0])
    freed = weakref.ref(tensor)
    del tensor
    assert freed() is None
