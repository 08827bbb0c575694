"""Batches: from data to batches, and from outputs to one output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from zae_engine.trainer.data.batches import batches_of, call_with_inputs, join_outputs

ROWS = torch.arange(10.0).reshape(5, 2)


class Rows(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return ROWS[index]


@pytest.mark.parametrize("data", [ROWS, ROWS.numpy(), Rows()])
def test_rows_come_in_batches_of_the_size(data):
    batches = list(batches_of(data, 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), ROWS)


def test_a_dataset_of_tensors_gives_tuples():
    batches = list(batches_of(TensorDataset(ROWS, ROWS[:, 0]), 3))
    assert [[part.shape[0] for part in batch] for batch in batches] == [[3, 3], [2, 2]]


def test_a_loader_and_a_list_of_batches_are_iterated():
    loader = DataLoader(Rows(), 2)
    assert batches_of(loader, 4) is loader
    batches = [(ROWS,), (ROWS,)]
    assert batches_of(batches, None) is batches


@pytest.mark.parametrize("batch", [(ROWS, ROWS), {"x": ROWS}, [ROWS, ROWS]])
def test_one_batch_is_a_batch(batch):
    assert len(list(batches_of(batch, 2))) == 1


def test_arrays_in_a_batch_become_tensors():
    ((x, names),) = batches_of((ROWS.numpy(), ["a"] * 5), None)
    assert torch.equal(x, ROWS)
    assert names == ["a"] * 5


def test_the_rows_of_a_table_are_samples():
    table = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6]})
    first, second = batches_of(table, 2, torch.float32)
    assert torch.equal(torch.cat([first, second]), torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]))
    first += 1  # the table stays as it is
    assert table["a"].tolist() == [1.0, 2.0, 3.0]
    (column,) = batches_of(table["b"], None, torch.float32)
    assert column.tolist() == [4, 5, 6]
    assert column.dtype == torch.int64


def test_arrays_of_floats_get_the_precision_and_tensors_keep_theirs():
    doubles = ROWS.double()
    for given in (doubles.numpy(), {"x": doubles.numpy()}, (doubles.numpy(),)):
        (batch,) = batches_of(given, None, torch.float32)
        x = batch if isinstance(batch, torch.Tensor) else batch["x"] if isinstance(batch, dict) else batch[0]
        assert x.dtype == torch.float32
    assert next(iter(batches_of(doubles, None, torch.float32))).dtype == torch.float64


def test_columns_that_hold_no_numbers_are_named():
    table = pandas.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]})
    with pytest.raises(TypeError, match="columns that hold no numbers: name"):
        batches_of(table, None)
    with pytest.raises(TypeError, match="columns that hold no numbers: name"):
        batches_of(table["name"], None)


@pytest.mark.parametrize("data", [3, "text", nn.Linear(1, 1), None])
def test_what_is_no_data_is_named(data):
    with pytest.raises(TypeError, match=f"data is of type {type(data).__name__}"):
        batches_of(data, None)
    with pytest.raises(TypeError, match="without rows"):
        batches_of(torch.tensor(1.0), None)


class Named(nn.Module):
    def forward(self, ids, mask=None):
        return ids if mask is None else ids * mask


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (ROWS, ROWS),
        ((ROWS, 3), ROWS),
        ([ROWS, 3], ROWS),
        ({"ids": ROWS, "labels": 1}, ROWS),
        ({"mask": 2.0, "ids": ROWS}, ROWS * 2),
        ({"pixels": ROWS, "labels": 1}, ROWS),
    ],
)
def test_the_model_is_called_with_its_inputs(batch, expected):
    assert torch.equal(call_with_inputs(Named(), batch), expected)


class Pair(NamedTuple):
    mean: torch.Tensor
    name: str


def test_outputs_of_all_structures_are_joined():
    assert torch.equal(join_outputs([ROWS[:2], ROWS[2:]]), ROWS)
    assert torch.equal(join_outputs([torch.tensor(1.0), torch.tensor(2.0)]), torch.tensor([1.0, 2.0]))
    assert np.array_equal(join_outputs([ROWS[:2].numpy(), ROWS[2:].numpy()]), ROWS.numpy())
    joined = join_outputs([{"a": (ROWS[:2], "x")}, {"a": (ROWS[2:], "y")}])
    assert torch.equal(joined["a"][0], ROWS)
    assert joined["a"][1] == ["x", "y"]
    pair = join_outputs([Pair(ROWS[:2], "x"), Pair(ROWS[2:], "y")])
    assert torch.equal(pair.mean, ROWS)
    assert join_outputs([["a", "b"], ["c"]]) == ["a", "b", "c"]
    assert torch.equal(join_outputs([[ROWS[:2]], [ROWS[2:]]])[0], ROWS)
    assert join_outputs([]) == []
