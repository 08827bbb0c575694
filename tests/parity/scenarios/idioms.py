"""Steps, metrics and optimizers with habits of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .parts import Traced, build, loaders, net, scenario


@scenario
def step_that_calls_backward_by_itself():
    class Auxiliary(Traced):
        def train_step(self, batch):
            (self.model[0].weight.square().mean() * 0.1).backward()
            return super().train_step(batch)

    trainer = build(Auxiliary)
    trainer.run(2, *loaders())
    return trainer


@scenario
def loss_of_shape_one_and_float_logs():
    class Shaped(Traced):
        def train_step(self, batch):
            loss = super().train_step(batch)["loss"].reshape(1)
            return {"loss": loss, "floats": 0.5 + float(loss), "ints": 3, "vector_output": torch.ones(3)}

    trainer = build(Shaped)
    trainer.run(2, loaders()[0])
    return trainer


class Plain(torch.optim.Optimizer):
    """Gradient descent whose ``step`` takes no closure."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})

    def step(self) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= group["lr"] * parameter.grad


@scenario
def optimizer_whose_step_takes_no_closure():
    trainer = build(optimizer=lambda m: Plain(m.parameters()), gradient_clip=0.5)
    trainer.run(2, *loaders())
    return trainer


@scenario
def optimizer_hooks_that_read_gradients():
    trainer = build()

    def before(optimizer, args, kwargs):
        trainer.note("before", [float(p.grad.norm()) for g in optimizer.param_groups for p in g["params"]])

    trainer.optimizer.register_step_pre_hook(before)
    trainer.run(2, loaders()[0])
    return trainer


@scenario
def frozen_part_whose_gradients_pile_up():
    # The optimizer holds the head only, so the other gradients are never cleared, and clipping counts them in.
    trainer = build(optimizer=lambda m: torch.optim.SGD(m[3].parameters(), 0.1), gradient_clip=0.3)
    trainer.run(2, *loaders())
    trainer.run(1, *loaders())
    return trainer


@scenario
def part_of_the_model_kept_in_eval_mode():
    class FrozenNorm(Traced):
        def train_step(self, batch):
            self.model[1].eval()
            return super().train_step(batch)

    trainer = build(FrozenNorm, model=net(norm=True))
    trainer.run(2, *loaders())
    return trainer


@scenario
def recurrent_model_with_penalty_in_double():
    class Penalised(Traced):
        def train_step(self, batch):
            x, y = batch
            x = x.double().requires_grad_()
            loss = F.cross_entropy(self.model(x), y)
            (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
            return {"loss": loss + gradient.square().sum(), "penalty": gradient.square().sum()}

    trainer = build(Penalised, model=nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 2)).double())
    trainer.run(2, loaders()[0])
    return trainer


@scenario
def metrics_that_draw_random_numbers():
    class Sampling(Traced):
        def metric_on_epoch_end(self):
            return {"sample": float(self.model(torch.randn(4, 10)).mean())}

    trainer = build(Sampling)
    trainer.run(3, *loaders())
    return trainer


@scenario
def metric_set_on_the_instance():
    trainer = build()
    trainer.metric_on_epoch_end = lambda: {
        "mean": sum(map(float, trainer.log_train["loss"] or trainer.log_test["loss"]))
    }
    trainer.run(2, *loaders())
    return trainer
