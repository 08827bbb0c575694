"""Adversarial training and the mixing of samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.trainer import Trainer

from .parts import CPU, constant, images, loaders, mlp, points, port


def convnet():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@port
def trades_with_pgd_in_eval_mode_and_a_random_start():
    """The model is switched to eval for the attack and back within the step; tests attack under ``enable_grad``."""

    class Trades(Trainer):
        epsilon, step_size, steps, beta = 0.1, 0.03, 3, 6.0

        def attack(self, x, clean):
            adv = x.detach() + 0.001 * torch.randn_like(x)
            for _ in range(self.steps):
                adv.requires_grad_()
                with torch.enable_grad():
                    loss = F.kl_div(F.log_softmax(self.model(adv), 1), clean, reduction="sum")
                (grad,) = torch.autograd.grad(loss, [adv])
                adv = adv.detach() + self.step_size * grad.sign()
                adv = torch.min(torch.max(adv, x - self.epsilon), x + self.epsilon).clamp(-1, 1)
            return adv

        def train_step(self, batch):
            x, y = batch
            self.model.eval()
            adv = self.attack(x, self.model(x).softmax(1).detach())
            self.model.train()
            logits = self.model(x)
            robust = F.kl_div(F.log_softmax(self.model(adv), 1), logits.softmax(1), reduction="batchmean")
            return {"loss": F.cross_entropy(logits, y) + self.beta * robust, "robust": robust}

        def test_step(self, batch):
            x, y = batch
            output = self.model(self.attack(x, self.model(x).softmax(1)))
            return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean()}

    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=2e-4)
    trainer = Trades(model, CPU, "train", optimizer, lr_scheduler.MultiStepLR(optimizer, [1]), log_bar=False)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    return trainer


@port
def free_adversarial_training_with_a_perturbation_as_a_global():
    """Each batch is replayed; the perturbation is a global that all batches share."""
    global_noise_data = torch.zeros(8, 1, 8, 8)

    class Free(Trainer):
        repeats, clip = 3, 0.1

        def run_batch(self, batch, **kwargs):
            if self.mode != "train":
                return super().run_batch(batch, **kwargs)
            x, y = self._to_device(*batch)
            self.model.train()
            for _ in range(self.repeats):
                noise_batch = global_noise_data[: len(x)].clone().requires_grad_(True)
                loss = F.cross_entropy(self.model((x + noise_batch).clamp(-1, 1)), y)
                self.optimizer.zero_grad()
                loss.backward()
                global_noise_data[: len(x)] += self.clip * noise_batch.grad.sign()
                global_noise_data.clamp_(-self.clip, self.clip)
                self.optimizer.step()
            self.logging({"loss": loss})
            self.progress_checker.update_step()

        def train_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch[0]), batch[1])}

        test_step = train_step

    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    trainer = Free(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(images(22), 8, shuffle=True), DataLoader(images(8, 2), 4))
    trainer.extra = global_noise_data
    return trainer


@port
def virtual_adversarial_training_with_batch_norm_statistics_kept():
    """A context manager turns batch norm's tracking off during the power iteration, by ``model.apply``."""
    import contextlib

    @contextlib.contextmanager
    def disable_tracking(model):
        def switch(m):
            if hasattr(m, "track_running_stats"):
                m.track_running_stats ^= True

        model.apply(switch)
        yield
        model.apply(switch)

    class Vat(Trainer):
        def train_step(self, batch):
            x, y = batch
            with torch.no_grad():
                target = self.model(x).softmax(1)
            with disable_tracking(self.model):
                d = F.normalize(torch.rand_like(x).sub(0.5).flatten(1)).view_as(x).requires_grad_()
                distance = F.kl_div(F.log_softmax(self.model(x + 10.0 * d), 1), target, reduction="batchmean")
                distance.backward()
                d = F.normalize(d.grad.flatten(1)).view_as(x)
                self.model.zero_grad()
                lds = F.kl_div(F.log_softmax(self.model(x + d), 1), target, reduction="batchmean")
            return {"loss": F.cross_entropy(self.model(x), y) + lds, "lds": lds}

        def test_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch[0]), batch[1])}

    model = convnet()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Vat(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    return trainer


@port
def domain_adaptation_by_a_reversed_gradient():
    """An autograd function reverses gradients; the target domain's batches come from an iterator of the trainer's."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, alpha):
            ctx.alpha = alpha
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad):
            return grad.neg() * ctx.alpha, None

    class Dann(Trainer):
        def train_step(self, batch):
            x, y = batch
            try:
                other, _ = next(self.target)
            except (AttributeError, StopIteration):
                self.target = iter(DataLoader(points(32, 5), 8, shuffle=True))
                other, _ = next(self.target)
            p = self.progress_checker.get_step() / 18
            alpha = 2.0 / (1.0 + np.exp(-10 * p)) - 1
            f, g = self.model["features"](x), self.model["features"](other)
            domain = self.model["domain"](Reverse.apply(torch.cat([f, g]), alpha))
            label = torch.arange(2).repeat_interleave(8)
            d = F.cross_entropy(domain, label)
            return {"loss": F.cross_entropy(self.model["label"](f), y) + d, "domain": d, "alpha": alpha}

        def test_step(self, batch):
            return {"loss": F.cross_entropy(self.model["label"](self.model["features"](batch[0])), batch[1])}

    model = nn.ModuleDict({"features": mlp(10, 8), "label": nn.Linear(8, 2), "domain": mlp(8, 2)})
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda s: (1 + 10 * s / 18) ** -0.75)
    trainer = Dann(model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, log_bar=False)
    trainer.run(2, *loaders())
    return trainer


@port
def mixup_and_cutmix_by_numpy():
    """One of both is drawn per batch; test batches are averaged over flips."""

    class Mixing(Trainer):
        def train_step(self, batch):
            x, y = batch
            lam, index = np.random.beta(1.0, 1.0), torch.randperm(len(x))
            if np.random.rand() < 0.5:
                mixed = lam * x + (1 - lam) * x[index]
            else:
                cx, cy, cut = np.random.randint(8), np.random.randint(8), int(8 * np.sqrt(1 - lam)) // 2
                top, bottom, left, right = (int(np.clip(v, 0, 8)) for v in (cy - cut, cy + cut, cx - cut, cx + cut))
                mixed = x.clone()
                mixed[:, :, top:bottom, left:right] = x[index, :, top:bottom, left:right]
                lam = 1 - (bottom - top) * (right - left) / 64
            output = self.model(mixed)
            return {
                "loss": lam * F.cross_entropy(output, y) + (1 - lam) * F.cross_entropy(output, y[index]),
                "lam": lam,
            }

        def test_step(self, batch):
            x, y = batch
            output = (self.model(x) + self.model(x.flip(3))) / 2
            return {"loss": F.cross_entropy(output, y), "output": output}

    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2)
    trainer = Mixing(model, CPU, "train", optimizer, scheduler, log_bar=False)
    trainer.run(3, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    return trainer
