"""LBFGS in processes that the trainer starts: as in one process, without a hang."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon


class Ridge(Classifier):
    def train_step(self, batch):
        x, y = batch
        penalty = 0.05 * sum(p.square().sum() for p in self.model.parameters())
        return {"loss": F.cross_entropy(self.model(x), y) + penalty}


class DistributedRidge(Ridge.add_on(MultiGPUAddon)):
    pass


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_two_processes_are_one(make, line_search):
    x = torch.randn(33, 10)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    trainers = []
    for cls, device, size in ((Ridge, "cpu", 34), (DistributedRidge, ["cpu", "cpu"], 17)):
        torch.manual_seed(0)
        model = nn.Linear(10, 2)
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn=line_search)
        trainers.append(make(cls, model=model, device=device, optimizer=optimizer))
        trainers[-1].run(3, DataLoader(data, size))
    one, two = trainers
    torch.testing.assert_close(two.model.weight, one.model.weight, rtol=1e-5, atol=1e-6)
    assert two.history["train_loss"] == pytest.approx(one.history["train_loss"], rel=1e-5)
    evaluations = [next(iter(trainer.optimizer.state.values()))["func_evals"] for trainer in trainers]
    assert evaluations[0] == evaluations[1] > 6
