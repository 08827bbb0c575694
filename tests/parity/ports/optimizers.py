"""Optimizers written by hand: with two steps, with modes, without a rate; steps at unusual moments."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from .parts import CPU, Batchwise, Classifier, NoScheduler, loaders, mlp, port, train


class Sam(Optimizer):
    """Of davda54/sam: two steps around a second backward pass."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norms = [p.grad.norm(p=2) for group in self.param_groups for p in group["params"] if p.grad is not None]
        grad_norm = torch.norm(torch.stack(norms), p=2)
        for group in self.param_groups:
            scale = group["rho"] / (grad_norm + 1e-12)
            for p in group["params"]:
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale)
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()


def norm_net():
    return nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


@port
def sam_with_two_steps_and_running_statistics_off():
    """The statistics of batch norm are only taken in the first pass."""

    def statistics(model, on):
        for m in model.modules():
            if isinstance(m, nn.BatchNorm1d):
                if on and hasattr(m, "backup_momentum"):
                    m.momentum = m.backup_momentum
                elif not on:
                    m.backup_momentum, m.momentum = m.momentum, 0

    class SamTrainer(Classifier):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            batch = self._to_device(*batch)
            self.model.train()
            statistics(self.model, True)
            step_dict = self.train_step(batch)
            step_dict["loss"].backward()
            self.optimizer.first_step(zero_grad=True)
            statistics(self.model, False)
            self.train_step(batch)["loss"].backward()
            self.optimizer.second_step(zero_grad=True)
            self.logging(step_dict)
            self.progress_checker.update_step()

    model = norm_net()
    optimizer = Sam(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    return train(SamTrainer, optimizer, model, lr_scheduler.CosineAnnealingLR(optimizer, 3))


@port
def gsam_whose_step_runs_a_closure_that_it_was_given_before():
    """``train_step`` sets the closure; ``optimizer.step()`` calls forward and backward again."""

    class Gsam(Sam):
        def set_closure(self, loss_fn, model, batch):
            def closure():
                self.zero_grad()
                loss_fn(model(batch[0]), batch[1]).backward()

            self.forward_backward = closure

        def step(self, closure=None):
            super().step(self.forward_backward)

    class GsamTrainer(Classifier):
        def train_step(self, batch):
            if self.mode == "train":
                self.optimizer.set_closure(F.cross_entropy, self.model, batch)
            return super().train_step(batch)

        test_step = train_step

    model = norm_net()
    optimizer = Gsam(model.parameters(), torch.optim.SGD, lr=0.1)
    return train(GsamTrainer, optimizer, model)


class ScheduleFree(Optimizer):
    """SGD of schedule_free: ``train()`` and ``eval()`` move the weights between two points."""

    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum, "k": 0, "train_mode": False, "weight_sum": 0.0})

    @torch.no_grad()
    def eval(self):
        self.move(False, lambda group: 1 - 1 / group["momentum"])

    @torch.no_grad()
    def train(self):
        self.move(True, lambda group: 1 - group["momentum"])

    def move(self, train, weight):
        for group in self.param_groups:
            if group["train_mode"] is not train:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(end=self.state[p]["z"], weight=weight(group))
                group["train_mode"] = train

    @torch.no_grad()
    def step(self, closure=None):
        if not self.param_groups[0]["train_mode"]:
            raise Exception("Optimizer was not in train mode when step is called.")
        for group in self.param_groups:
            weight = group["lr"] ** 2
            group["weight_sum"] += weight
            ckp1 = weight / group["weight_sum"]
            for y in group["params"]:
                z = self.state[y].setdefault("z", y.clone())
                y.lerp_(end=z, weight=ckp1)
                y.add_(y.grad, alpha=group["lr"] * (group["momentum"] * (1 - ckp1) - 1))
                z.sub_(y.grad, alpha=group["lr"])
            group["k"] += 1


@port
def schedule_free_optimizer_switched_by_the_mode():
    """``log_reset`` switches the optimizer with the trainer's mode; statistics of batch norm are made anew in eval."""

    class ScheduleFreeTrainer(Classifier):
        def log_reset(self, epoch_end=False):
            super().log_reset(epoch_end)
            if self.mode == "train":
                self.optimizer.train()
                return
            self.optimizer.eval()
            self.model.train()
            with torch.no_grad():
                for x, _ in self.loader:
                    self.model(x)

    model = norm_net()
    return train(ScheduleFreeTrainer, ScheduleFree(model.parameters()), model)


class Cocob(Optimizer):
    """COCOB-Backprop: coin betting, without a learning rate."""

    def __init__(self, params, alpha=20.0, eps=1e-8):
        super().__init__(params, {"alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["w1"] = p.clone()
                    for name in ("L", "G", "R", "T"):
                        state[name] = torch.full_like(p, group["eps"] if name in "LG" else 0.0)
                g = -p.grad
                state["L"] = torch.maximum(state["L"], g.abs())
                state["G"] += g.abs()
                state["R"] = (state["R"] + (p - state["w1"]) * g).clamp(min=0)
                state["T"] += g
                bet = state["T"] / (state["L"] * torch.maximum(state["G"] + state["L"], group["alpha"] * state["L"]))
                p.copy_(state["w1"] + bet * (state["L"] + state["R"]))


def without_rate(cls):
    """Leave the rate out of the log line, which 0.7.6 could not read."""

    class WithoutRate(cls):
        def print_log(self, cur_batch, num_batch):
            log = self.log_train if self.mode == "train" else self.log_test
            return {"Batch": f"{cur_batch}/{num_batch}", **{k: f"{np.mean(v):.6f}" for k, v in log.items()}}

    return WithoutRate


@port
def optimizer_without_a_learning_rate():
    """No group has the key "lr"."""
    model = mlp()
    return train(without_rate(Classifier), Cocob(model.parameters()), model, NoScheduler(), gradient_clip=1.0)


@port
def optimizer_without_a_learning_rate_stepped_per_batch_with_its_scheduler():
    """As above, with an own ``run_batch`` and a scheduler per batch that changes another value."""

    class Annealed:
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def step(self):
            for group in self.optimizer.param_groups:
                group["alpha"] *= 1.1

    model = mlp()
    optimizer = Cocob(model.parameters())
    return train(without_rate(Batchwise), optimizer, model, Annealed(optimizer), scheduler_step_on_batch=True)


@port
def stochastic_weight_averaging_from_an_epoch_on():
    """`AveragedModel` and `SWALR` of torch, switched to in ``check_better``; batch norm is updated at the end."""

    class Swa(Classifier):
        def check_better(self, cur_epoch, cur_loss):
            if cur_epoch >= 1:
                if cur_epoch == 1:
                    self.scheduler = SWALR(self.optimizer, swa_lr=0.02, anneal_epochs=2)
                self.swa_model.update_parameters(self.model)
            return super().check_better(cur_epoch, cur_loss)

    model = norm_net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = Swa(model, CPU, "train", optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 4), log_bar=False)
    trainer.swa_model = AveragedModel(model)
    train, valid = loaders()
    trainer.run(4, train, valid)
    update_bn(train, trainer.swa_model)
    trainer.extra = trainer.swa_model
    return trainer


@port
def steps_within_the_backward_pass():
    """torchtune's optimizer in backward: each parameter has its own, stepped by a hook; the trainer's is a shell."""

    class InBackward:
        def __init__(self, optimizers):
            self.optim_map = optimizers
            self.param_groups = [g for o in optimizers.values() for g in o.param_groups]

        def step(self): ...

        def zero_grad(self): ...

        def state_dict(self):
            return {name: o.state_dict() for name, o in self.optim_map.items()}

    model = mlp()
    optimizers = {}

    def optim_step(param):
        optimizers[param].step()
        optimizers[param].zero_grad()

    for p in model.parameters():
        optimizers[p] = torch.optim.Adam([p], 1e-2)
        p.register_post_accumulate_grad_hook(optim_step)
    named = {name: optimizers[p] for name, p in model.named_parameters()}
    return train(Classifier, InBackward(named), model, NoScheduler())


@port
def evolution_strategy_that_sets_gradients_by_hand():
    """No backward pass at all: antithetic noise by `numpy.random`, the estimate written into ``grad``."""

    class Evolution(Classifier):
        sigma = 0.05

        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            self.model.eval()
            params = list(self.model.parameters())
            grads = [torch.zeros_like(p) for p in params]
            with torch.no_grad():
                for _ in range(4):
                    noise = [torch.from_numpy(np.random.randn(*p.shape)).float() for p in params]
                    losses = []
                    for sign in (1, -2):
                        for p, n in zip(params, noise):
                            p.add_(n, alpha=sign * self.sigma)
                        losses.append(self.train_step(batch)["loss"])
                    for p, n, g in zip(params, noise, grads):
                        p.add_(n, alpha=self.sigma)
                        g.add_(n * (losses[0] - losses[1]) / (2 * self.sigma * 4))
                for p, g in zip(params, grads):
                    p.grad = g
            self.optimizer.step()
            self.logging({"loss": losses[0]})
            self.progress_checker.update_step()

    model = mlp()
    return train(Evolution, torch.optim.Adam(model.parameters(), 1e-2), model, epochs=2)


@port
def lbfgs_on_the_model_with_a_closure():
    """The classic: full control in ``run_batch``, line search by strong Wolfe."""

    class Lbfgs(Classifier):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            self.model.train()

            def closure():
                self.optimizer.zero_grad()
                loss = self.train_step(batch)["loss"] + 1e-3 * sum(p.square().sum() for p in self.model.parameters())
                loss.backward()
                return loss

            self.logging({"loss": self.optimizer.step(closure)})
            self.progress_checker.update_step()

    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3, line_search_fn="strong_wolfe")
    return train(Lbfgs, optimizer, model, epochs=2)


@port
def bfloat16_autocast_by_hand_with_a_loss_scale():
    """The script scales the loss; the optimizer divides the gradients before it steps, and skips what overflows."""

    class Scaled(torch.optim.SGD):
        scale, good = 2.0**8, 0

        def step(self, closure=None):
            grads = [p.grad for g in self.param_groups for p in g["params"]]
            if all(torch.isfinite(g).all() for g in grads):
                for g in grads:
                    g /= self.scale
                super().step(closure)
                self.good += 1
                if self.good % 5 == 0:
                    self.scale *= 2

    class Autocast(Classifier):
        def train_step(self, batch):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(self.model(batch[0]), batch[1])
            return {"loss": loss * self.optimizer.scale, "real": loss.float()}

        def test_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch[0]), batch[1])}

    model = mlp()
    trainer = train(Autocast, Scaled(model.parameters(), 0.1, momentum=0.9), model)
    trainer.extra = [trainer.optimizer.scale, math.log2(trainer.optimizer.scale)]
    return trainer
