"""Precision: the optimizer's step follows the closure; this fails if Lightning's private ``_wrap_closure`` changes."""

from __future__ import annotations

import inspect

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins.precision import Precision
from torch import nn
from zae_lightning.performance.precision import PlainPrecision


def test_lightning_still_wraps_closures_in_this_way():
    assert list(inspect.signature(Precision._wrap_closure).parameters) == ["self", "model", "optimizer", "closure"]


class Module(L.LightningModule):
    def __init__(self, order):
        super().__init__()
        self.layer, self.order = nn.Linear(3, 1), order

    def training_step(self, batch, batch_idx):
        self.order.append("forward")
        return self.layer(batch).sum()

    def on_after_backward(self):
        self.order.append("backward")

    def on_before_optimizer_step(self, optimizer):
        self.order.append("before step")

    def configure_optimizers(self):
        order = self.order

        class Noting(torch.optim.SGD):
            def step(self, closure=None):
                order.append("step" if closure is None else "step with closure")
                super().step(closure)

        return Noting(self.parameters(), lr=0.1)


def fit(order, *plugins):
    torch.manual_seed(0)
    module = Module(order)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, plugins=list(plugins),
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(2, 3)))
    return module.layer.weight.detach()


def test_forward_and_backward_come_before_the_step_and_the_numbers_are_lightnings():
    own, lightnings = [], []
    weight, reference = fit(own, PlainPrecision()), fit(lightnings)
    assert own == ["forward", "backward", "before step", "step"] * 2
    assert lightnings[0] == "step with closure"
    assert torch.equal(weight, reference)
