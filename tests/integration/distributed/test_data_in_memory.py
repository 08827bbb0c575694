"""A data set in memory lies there once for all processes, and each of them has it as if it were its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from zae_lightning.launchers.memory_file import has_memory_files

from tests.benchmarks.data import measure
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

pytestmark = [
    pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux"),
    pytest.mark.timeout(400),  # a test starts six processes, one after another
]
MEGABYTES = 200


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_two_processes_have_a_data_set_in_memory_once(start: str):
    without, with_data = measure(start, "tensors", [0, MEGABYTES])
    assert with_data - without > 0.5 * MEGABYTES  # it has been read
    assert with_data - without < 1.3 * MEGABYTES


class Overwriting(Dataset[Any]):
    """Gives a row, and overwrites it."""

    def __init__(self) -> None:
        self.rows, self.array = torch.ones(8, 1_000_000), np.ones((8, 1_000_000), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        value = self.rows[index].mean() + self.array[index].mean()
        self.rows[index] = self.array[index] = -1.0
        return torch.ones(1), value


class Means(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch: Any) -> dict[str, Any]:
        return {"loss": self.model(batch[0]).mean(), "output": batch[1]}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def test_what_a_process_writes_stays_there_and_what_the_caller_writes_arrives_at_the_next_run():
    data, model = Overwriting(), torch.nn.Linear(1, 1)
    address, array = data.rows.data_ptr(), data.array
    trainer = Means(model, ["cpu", "cpu"], "train", torch.optim.SGD(model.parameters(), 0.1), log_bar=False)
    for value in (1.0, 3.0):
        data.rows[:] = data.array[:] = value
        trainer.run(1, DataLoader(data, 2))
        assert torch.cat(trainer.log_train["output"]).tolist() == [2 * value] * 8
        assert (data.rows == value).all()
        assert (data.array == value).all()
    assert data.array is array
    assert data.rows.data_ptr() == address
    assert not data.rows.is_shared()
