"""Optimizers around other ones, most of which never call ``Optimizer.__init__``."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer
from torch.utils.data import DataLoader

from .parts import CPU, Batchwise, Classifier, Own, constant, images, mlp, port, train


class TimmLookahead(Optimizer):
    """Of timm: ``super().__init__`` is not called, on purpose; groups and defaults are those of the base optimizer."""

    def __init__(self, base_optimizer, alpha=0.5, k=3):
        self._optimizer_step_pre_hooks = OrderedDict()
        self._optimizer_step_post_hooks = OrderedDict()
        defaults = {"lookahead_alpha": alpha, "lookahead_k": k, "lookahead_step": 0}
        self._base_optimizer = base_optimizer
        self.param_groups = base_optimizer.param_groups
        self.defaults = base_optimizer.defaults
        self.defaults.update(defaults)
        self.state = defaultdict(dict)
        for name, default in defaults.items():
            for group in self._base_optimizer.param_groups:
                group.setdefault(name, default)

    @torch.no_grad()
    def update_slow(self, group):
        for fast_p in group["params"]:
            if fast_p.grad is None:
                continue
            param_state = self._base_optimizer.state[fast_p]
            if "lookahead_slow_buff" not in param_state:
                param_state["lookahead_slow_buff"] = torch.empty_like(fast_p).copy_(fast_p)
            slow = param_state["lookahead_slow_buff"]
            slow.add_(fast_p - slow, alpha=group["lookahead_alpha"])
            fast_p.copy_(slow)

    @torch.no_grad()
    def step(self, closure=None):
        loss = self._base_optimizer.step(closure)
        for group in self._base_optimizer.param_groups:
            group["lookahead_step"] += 1
            if group["lookahead_step"] % group["lookahead_k"] == 0:
                self.update_slow(group)
        return loss

    def state_dict(self):
        return self._base_optimizer.state_dict()

    def load_state_dict(self, state_dict):
        self._base_optimizer.load_state_dict(state_dict)
        self.param_groups = self._base_optimizer.param_groups


class PlainLookahead(Optimizer):
    """Of many repositories: no ``super().__init__``, no ``defaults``, no hooks, no ``state_dict``."""

    def __init__(self, optimizer, k=3, alpha=0.5):
        self.optimizer, self.k, self.alpha, self.n = optimizer, k, alpha, 0
        self.param_groups = self.optimizer.param_groups
        self.slow = [[p.clone().detach() for p in group["params"]] for group in self.param_groups]

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.n += 1
        if self.n % self.k == 0:
            for slow, group in zip(self.slow, self.param_groups):
                for s, p in zip(slow, group["params"]):
                    s += self.alpha * (p.data - s)
                    p.data.copy_(s)
        return loss


@port
def lookahead_of_timm():
    """The scheduler belongs to the base optimizer."""
    model = mlp()
    base = torch.optim.AdamW(model.parameters(), 1e-2)
    return train(Classifier, TimmLookahead(base), model, lr_scheduler.CosineAnnealingLR(base, 3), gradient_clip=1.0)


@port
def lookahead_of_timm_within_an_own_run_batch():
    """The scheduler belongs to the wrapper."""
    model = mlp()
    optimizer = TimmLookahead(torch.optim.AdamW(model.parameters(), 1e-2))
    return train(Batchwise, optimizer, model, lr_scheduler.StepLR(optimizer, 1, 0.7))


@port
def lookahead_without_defaults_and_state():
    """Trains by ``train_step`` alone."""
    model = mlp()
    base = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = train(Classifier, PlainLookahead(base), model, constant(base), gradient_clip=1.0)
    trainer.extra = [base, trainer.optimizer.slow, trainer.optimizer.n]
    return trainer


@port
def lookahead_without_defaults_and_state_behind_super_run_batch():
    """Has nowhere to register a hook at."""
    model = mlp()
    base = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = train(Batchwise, PlainLookahead(base), model, constant(base), gradient_clip=1.0)
    trainer.extra = [base, trainer.optimizer.slow, trainer.optimizer.n]
    return trainer


@port
def lookahead_without_defaults_and_state_in_an_own_run_batch():
    """As above, stepped by the script itself; the scheduler belongs to the wrapper."""
    model = mlp()
    base = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    optimizer = PlainLookahead(base)
    trainer = train(Own, optimizer, model, lr_scheduler.ExponentialLR(optimizer, 0.8))
    trainer.extra = [base, optimizer.slow, optimizer.n]
    return trainer


class AcceleratedOptimizer(Optimizer):
    """Of accelerate: all is a property that leads to the optimizer within."""

    def __init__(self, optimizer):
        self.optimizer, self._is_overflow, self._accelerate_step_called = optimizer, False, False

    @property
    def state(self):
        return self.optimizer.state

    @state.setter
    def state(self, state):
        self.optimizer.state = state

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, param_groups):
        self.optimizer.param_groups = param_groups

    @property
    def defaults(self):
        return self.optimizer.defaults

    @defaults.setter
    def defaults(self, defaults):
        self.optimizer.defaults = defaults

    def add_param_group(self, param_group):
        self.optimizer.add_param_group(param_group)

    def load_state_dict(self, state_dict):
        self.optimizer.load_state_dict(state_dict)

    def state_dict(self):
        return self.optimizer.state_dict()

    def zero_grad(self, set_to_none=None):
        self.optimizer.zero_grad(set_to_none=True if set_to_none is None else set_to_none)

    def train(self):
        return self.optimizer.train() if hasattr(self.optimizer, "train") else None

    def eval(self):
        return self.optimizer.eval() if hasattr(self.optimizer, "eval") else None

    def step(self, closure=None):
        self.optimizer.step(closure)

    @property
    def step_was_skipped(self):
        return self._is_overflow


class AcceleratedScheduler:
    """Of accelerate: no scheduler of torch's."""

    def __init__(self, scheduler, optimizers):
        self.scheduler, self.optimizers = scheduler, optimizers

    def step(self, *args, **kwargs):
        if not any(opt.step_was_skipped for opt in self.optimizers):
            self.scheduler.step(*args, **kwargs)

    def get_last_lr(self):
        return self.scheduler.get_last_lr()

    def state_dict(self):
        return self.scheduler.state_dict()


@port
def optimizer_and_scheduler_prepared_by_accelerate():
    """Both wrappers are given to the trainer."""
    model = mlp()
    base = torch.optim.AdamW(model.parameters(), 1e-2)
    optimizer = AcceleratedOptimizer(base)
    scheduler = AcceleratedScheduler(lr_scheduler.StepLR(base, 1, 0.5), [optimizer])
    trainer = train(Classifier, optimizer, model, scheduler, gradient_clip=1.0)
    trainer.extra = trainer.scheduler.get_last_lr()
    return trainer


@port
def optimizer_prepared_by_accelerate_behind_super_run_batch():
    """As above, with ``run_batch`` overridden."""
    model = mlp()
    base = torch.optim.AdamW(model.parameters(), 1e-2)
    optimizer = AcceleratedOptimizer(base)
    scheduler = AcceleratedScheduler(lr_scheduler.StepLR(base, 9, 0.5), [optimizer])
    return train(Batchwise, optimizer, model, scheduler, scheduler_step_on_batch=True)


class Agc(Optimizer):
    """Adaptive gradient clipping around another optimizer; groups are the other's, and nothing else is there."""

    def __init__(self, optim, clipping=1e-2, eps=1e-3):
        self.optim, self.clipping, self.eps = optim, clipping, eps
        self.param_groups = optim.param_groups

    def unitwise_norm(self, x):
        return x.norm() if x.ndim <= 1 else x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                param_norm = self.unitwise_norm(p).clamp(min=self.eps)
                grad_norm = self.unitwise_norm(p.grad)
                trigger = grad_norm > param_norm * self.clipping
                clipped = p.grad * (param_norm * self.clipping / grad_norm.clamp(min=1e-6))
                p.grad.copy_(torch.where(trigger, clipped, p.grad))
        return self.optim.step(closure)

    def zero_grad(self, set_to_none=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.zero_()


@port
def adaptive_gradient_clipping_around_sgd():
    """Gradients are zeros and not None after ``zero_grad``."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    base = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    trainer = Classifier(model, CPU, "train", Agc(base), lr_scheduler.StepLR(base, 1, 0.5), log_bar=False)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    trainer.extra = base
    return trainer


class Muon(Optimizer):
    """Orthogonalised momentum for matrices."""

    def __init__(self, params, lr=0.02, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(buffer, group["momentum"])
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                p.add_(x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


@port
def muon_and_adam_as_one_optimizer_without_init():
    """The groups of both are a property; ``step`` steps both; the scheduler runs on a list of schedulers."""

    class Combined(Optimizer):
        def __init__(self, *optimizers):
            self.optimizers = optimizers

        @property
        def param_groups(self):
            return [g for o in self.optimizers for g in o.param_groups]

        @property
        def state(self):
            return {k: v for o in self.optimizers for k, v in o.state.items()}

        def zero_grad(self, *args, **kwargs):
            for o in self.optimizers:
                o.zero_grad(*args, **kwargs)

        def step(self, closure=None):
            for o in self.optimizers:
                o.step()

        def state_dict(self):
            return [o.state_dict() for o in self.optimizers]

    class ChainedSchedulers(list):
        def step(self):
            for scheduler in self:
                scheduler.step()

    model = mlp()
    matrices, rest = [[p for p in model.parameters() if (p.ndim == 2) is flag] for flag in (True, False)]
    optimizers = Muon(matrices), torch.optim.AdamW(rest, 1e-2)
    scheduler = ChainedSchedulers(lr_scheduler.LinearLR(o, 1.0, 0.1, 3) for o in optimizers)
    return train(Classifier, Combined(*optimizers), model, scheduler)


@port
def master_weights_that_are_copies_of_the_models():
    """apex's FP16_Optimizer: the groups hold copies in double, and the model's parameters are in none."""

    class MasterWeights:
        def __init__(self, optimizer):
            self.optimizer, self.pairs = optimizer, []
            for group in optimizer.param_groups:
                masters = [nn.Parameter(p.detach().clone().double()) for p in group["params"]]
                self.pairs += zip(group["params"], masters)
                group["params"] = masters

        @property
        def param_groups(self):
            return self.optimizer.param_groups

        def zero_grad(self):
            for model_p, _ in self.pairs:
                model_p.grad = None

        @torch.no_grad()
        def step(self):
            for model_p, master in self.pairs:
                master.grad = model_p.grad.double()
            self.optimizer.step()
            for model_p, master in self.pairs:
                model_p.copy_(master)

        def state_dict(self):
            return self.optimizer.state_dict()

    model = mlp()
    optimizer = MasterWeights(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    trainer = train(Classifier, optimizer, model, constant(optimizer.optimizer), gradient_clip=1.0)
    trainer.extra = [master for _, master in optimizer.pairs]
    return trainer


@port
def master_weights_of_a_torch_optimizer_copied_by_hooks():
    """The optimizer is torch's, holds copies only, and copies gradients and weights by its own step hooks."""
    model = mlp()
    masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.Adam(masters, 1e-2)

    def before(*_):
        for p, master in zip(model.parameters(), masters):
            master.grad = p.grad.clone()

    def after(*_):
        with torch.no_grad():
            for p, master in zip(model.parameters(), masters):
                p.copy_(master.to(torch.bfloat16))
                p.grad = None

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return train(Classifier, optimizer, model)
