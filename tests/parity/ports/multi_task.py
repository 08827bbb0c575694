"""Several tasks: weights that are learnt, gradients that are projected or balanced, tasks drawn at random."""

from __future__ import annotations

import random

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, mlp, points, port


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared, self.heads = (
            nn.Linear(10, 12),
            nn.ModuleDict({"class": nn.Linear(12, 2), "value": nn.Linear(12, 1)}),
        )

    def forward(self, x):
        h = torch.relu(self.shared(x))
        return {name: head(h) for name, head in self.heads.items()}


def tasks(n=48, seed=1):
    x, y = points(n, seed).tensors
    return TensorDataset(x, y, x[:, :2].prod(1, keepdim=True))


def losses(outputs, y, value):
    return {"class": F.cross_entropy(outputs["class"], y), "value": F.mse_loss(outputs["value"], value)}


@port
def uncertainty_weighting_with_log_variances_on_the_trainer():
    """``log_vars`` is a parameter that lies on the trainer, in the model's optimizer."""

    class Uncertain(Trainer):
        def __init__(self, model, device, mode, *, lr, **kwargs):
            self.log_vars = nn.Parameter(torch.zeros(2))
            optimizer = torch.optim.Adam([*model.parameters(), self.log_vars], lr=lr)
            super().__init__(model, device, mode, optimizer, lr_scheduler.ExponentialLR(optimizer, 0.8), **kwargs)

        def train_step(self, batch):
            x, y, value = batch
            parts = losses(self.model(x), y, value)
            loss = sum(torch.exp(-s) * part + s for s, part in zip(self.log_vars, parts.values()))
            return {"loss": loss, **parts, **{f"s_{i}": s.item() for i, s in enumerate(self.log_vars)}}

        test_step = train_step

    trainer = Uncertain(TwoHeads(), CPU, "train", lr=1e-2, log_bar=False)
    trainer.run(3, DataLoader(tasks(), 8, shuffle=True), DataLoader(tasks(16, 2), 8))
    trainer.extra = trainer.log_vars
    return trainer


@port
def conflicting_gradients_projected_in_an_optimizer_around_the_optimizer():
    """PCGrad: the wrapper has ``pc_backward`` and an ``optimizer`` property; the order of tasks by `random`."""

    class PCGrad:
        def __init__(self, optimizer):
            self._optim = optimizer

        @property
        def optimizer(self):
            return self._optim

        @property
        def param_groups(self):
            return self._optim.param_groups

        def zero_grad(self):
            return self._optim.zero_grad(set_to_none=True)

        def step(self):
            return self._optim.step()

        def pc_backward(self, objectives):
            params = [p for group in self._optim.param_groups for p in group["params"]]
            grads = []
            for objective in objectives:
                self._optim.zero_grad(set_to_none=True)
                objective.backward(retain_graph=True)
                grads.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params]))
            projected = [g.clone() for g in grads]
            for g in projected:
                random.shuffle(grads)
                for other in grads:
                    dot = torch.dot(g, other)
                    if dot < 0:
                        g -= dot * other / other.norm() ** 2
            merged, at = torch.stack(projected).sum(0), 0
            for p in params:
                p.grad = merged[at : at + p.numel()].view_as(p).clone()
                at += p.numel()

    class Surgery(Trainer):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            x, y, value = self._to_device(*batch)
            self.model.train()
            parts = losses(self.model(x), y, value)
            self.optimizer.zero_grad()
            self.optimizer.pc_backward(list(parts.values()))
            self.optimizer.step()
            self.logging({"loss": sum(parts.values()), **parts})
            self.progress_checker.update_step()

        def train_step(self, batch):
            x, y, value = batch
            return {"loss": sum(losses(self.model(x), y, value).values())}

        test_step = train_step

    model = TwoHeads()
    base = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Surgery(model, CPU, "train", PCGrad(base), lr_scheduler.StepLR(base, 1, 0.7), log_bar=False)
    trainer.run(3, DataLoader(tasks(), 8, shuffle=True), DataLoader(tasks(16, 2), 8))
    trainer.extra = base
    return trainer


@port
def gradnorm_that_balances_task_weights_after_the_backward_pass():
    """Task weights have an optimizer of their own, stepped in ``train_step``, and are renormalised in place."""

    class GradNorm(Trainer):
        initial = None

        def train_step(self, batch):
            x, y, value = batch
            task_losses = torch.stack(list(losses(self.model(x), y, value).values()))
            if self.initial is None:
                self.initial = task_losses.detach()
            norms = []
            for w, task_loss in zip(self.weights, task_losses):
                (grad,) = torch.autograd.grad(w * task_loss, self.model.shared.weight, create_graph=True)
                norms.append(grad.norm())
            norms = torch.stack(norms)
            ratio = task_losses.detach() / self.initial
            goal = (norms.mean() * (ratio / ratio.mean()) ** 0.5).detach()
            self.weights_optimizer.zero_grad()
            self.weights.grad = torch.autograd.grad((norms - goal).abs().sum(), self.weights, retain_graph=True)[0]
            self.weights_optimizer.step()
            with torch.no_grad():
                self.weights *= 2 / self.weights.sum()
            return {"loss": (self.weights.detach() * task_losses).sum(), "w0": self.weights[0].item()}

        def test_step(self, batch):
            x, y, value = batch
            return {"loss": sum(losses(self.model(x), y, value).values())}

    model = TwoHeads()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    trainer = GradNorm(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.weights = torch.ones(2, requires_grad=True)
    trainer.weights_optimizer = torch.optim.Adam([trainer.weights], lr=0.02)
    trainer.run(2, DataLoader(tasks(), 8, shuffle=True), DataLoader(tasks(16, 2), 8))
    trainer.extra = [trainer.weights, trainer.weights_optimizer]
    return trainer


@port
def tasks_drawn_by_random_choices_with_an_iterator_for_each():
    """The loader only counts; each step draws a task and takes a batch of it, from iterators that start again."""

    class RandomTasks(Trainer):
        def next_batch(self, name):
            try:
                return next(self.iterators[name])
            except (KeyError, StopIteration):
                self.iterators[name] = iter(self.task_loaders[name])
                return next(self.iterators[name])

        def train_step(self, batch):
            name = random.choices(["class", "value"], weights=[3, 1])[0]
            x, y, value = self._to_device(*self.next_batch(name))
            return {"loss": losses(self.model(x), y, value)[name], "is_value": float(name == "value")}

        def test_step(self, batch):
            x, y, value = batch
            return {"loss": losses(self.model(x), y, value)["class"]}

    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = RandomTasks(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.iterators = {}
    trainer.task_loaders = {n: DataLoader(tasks(24, i), 6, shuffle=True) for i, n in enumerate(("class", "value"))}
    trainer.run(3, DataLoader(range(7), 1), DataLoader(tasks(16, 2), 8))
    return trainer


@port
def mixture_of_experts_with_a_balancing_loss_from_hooks():
    """Forward hooks collect the routers' losses in a list of the script; the step adds and clears them."""
    collected = []

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.experts = nn.Linear(10, 3), nn.ModuleList(mlp(10, 2, 6) for _ in range(3))

        def forward(self, x):
            logits = self.router(x)
            if self.training:
                logits = logits + torch.randn_like(logits) * 0.1
            gates, chosen = logits.softmax(1).topk(2, dim=1)
            self.load = F.one_hot(chosen[:, 0], 3).float().mean(0), logits.softmax(1).mean(0)
            outputs = torch.stack([expert(x) for expert in self.experts], 1)
            return (gates[..., None] * outputs.gather(1, chosen[..., None].expand(-1, -1, 2))).sum(1)

    class Moe(Trainer):
        def train_step(self, batch):
            x, y = batch
            collected.clear()
            loss = F.cross_entropy(self.model(x), y)
            return {"loss": loss + 0.01 * sum(collected), "n": len(collected)}

        test_step = train_step

    model = Experts()
    model.register_forward_hook(
        lambda module, args, output: collected.append(3 * (module.load[0] * module.load[1]).sum())
    )
    optimizer = torch.optim.NAdam(model.parameters(), 1e-2)
    trainer = Moe(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=1.0, log_bar=False)
    trainer.run(2, DataLoader(points(), 8, shuffle=True), DataLoader(points(16, 2), 8))
    return trainer
