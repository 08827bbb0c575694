"""Diffusion and flow models: schedules of noise, averaged weights, sampling at the end of an epoch."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer import Trainer

from .parts import CPU, constant, images, loaders, mlp, port


class TimeNet(nn.Module):
    """Predicts the noise from vectors and a time."""

    def __init__(self, size=10, classes=0):
        super().__init__()
        self.body = mlp(size + 2, size, 24)
        self.embed = nn.Embedding(classes + 1, 2) if classes else None

    def forward(self, x, t, y=None):
        h = torch.stack([torch.sin(t.float()), torch.cos(t.float())], 1)
        if self.embed is not None:
            h = h + self.embed(y)
        return self.body(torch.cat([x, h], 1))


class Ema:
    """The averaged copy of the "minimal diffusion" repositories."""

    def __init__(self, model, beta=0.9, start=3):
        self.model, self.beta, self.start, self.n = copy.deepcopy(model).eval().requires_grad_(False), beta, start, 0

    def update(self, model):
        self.n += 1
        if self.n < self.start:
            self.model.load_state_dict(model.state_dict())
            return
        for old, new in zip(self.model.parameters(), model.parameters(), strict=True):
            old.data = old.data * self.beta + (1 - self.beta) * new.data


@port
def ddpm_with_an_averaged_copy_that_samples():
    """The average is updated after each batch, and samples at the end of each epoch."""

    class Ddpm(Trainer):
        n_steps = 6

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.ema = Ema(self.model)
            betas = torch.linspace(1e-3, 0.2, self.n_steps)
            self.alphas, self.alpha_bars = 1 - betas, (1 - betas).cumprod(0)

        def step(self, batch, model):
            x, _ = batch
            t = torch.randint(self.n_steps, (len(x),))
            noise = torch.randn_like(x)
            a = self.alpha_bars[t][:, None]
            return {"loss": F.mse_loss(model(a.sqrt() * x + (1 - a).sqrt() * noise, t), noise)}

        def train_step(self, batch):
            return self.step(batch, self.model)

        def test_step(self, batch):
            return self.step(batch, self.ema.model)

        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)
            if self.mode == "train":
                self.ema.update(self.model)

        @torch.no_grad()
        def metric_on_epoch_end(self):
            x = torch.randn(4, 10)
            for t in reversed(range(self.n_steps)):
                eps = self.ema.model(x, torch.full((4,), t))
                x = (x - (1 - self.alphas[t]) / (1 - self.alpha_bars[t]).sqrt() * eps) / self.alphas[t].sqrt()
                if t:
                    x += (1 - self.alphas[t]).sqrt() * torch.randn_like(x)
            return {"sample_std": x.std().item()}

    model = TimeNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    trainer = Ddpm(
        model, CPU, "train", optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 4), gradient_clip=1.0, log_bar=False
    )
    trainer.run(3, *loaders())
    trainer.extra = trainer.ema.model
    return trainer


@port
def classifier_free_guidance_with_labels_dropped_by_numpy():
    """Labels are dropped by `numpy.random`, steps are weighted, and the rate warms up per batch."""

    class Guided(Trainer):
        def train_step(self, batch):
            x, y = batch
            x = x.flatten(1)
            if np.random.rand() < 0.5:
                y = torch.where(torch.from_numpy(np.random.rand(len(y)) < 0.4), torch.zeros_like(y), y + 1)
            else:
                y = y + 1
            t = torch.rand(len(x))
            alpha, sigma = torch.cos(t * math.pi / 2)[:, None], torch.sin(t * math.pi / 2)[:, None]
            noise = torch.randn_like(x)
            target = alpha * noise - sigma * x  # v-prediction
            error = (self.model(alpha * x + sigma * noise, t, y) - target).square().mean(1)
            weight = (alpha.square() / sigma.square().clamp(min=1e-3)).clamp(max=5)[:, 0]
            return {"loss": (weight * error).mean(), "plain": error.mean()}

        def test_step(self, batch):
            x, y = batch
            sample = torch.randn(len(x), 64)
            for t in torch.linspace(1, 0.2, 4):
                time = t.expand(len(x))
                free, bound = self.model(sample, time, torch.zeros_like(y)), self.model(sample, time, y + 1)
                sample = sample - 0.25 * (free + 3 * (bound - free))
            return {"loss": F.mse_loss(sample, x.flatten(1)), "output": sample}

    model = TimeNet(64, classes=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    chain = SchedulerChain(WarmUpScheduler(optimizer, 3), CosineAnnealingScheduler(optimizer, 9))
    trainer = Guided(model, CPU, "train", optimizer, chain, scheduler_step_on_batch=True, log_bar=False)
    trainer.run(3, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    trainer.extra = trainer.inference(DataLoader(images(4, 3), 4))
    return trainer


@port
def flow_matching_that_swaps_averaged_weights_in_for_tests():
    """``toggle`` puts the averaged weights into the model for validation and the trained ones back."""

    class Flow(Trainer):
        shadow = backup = None

        def train_step(self, batch):
            x1, _ = batch
            x0, t = torch.randn_like(x1), torch.rand(len(x1))
            xt = (1 - t[:, None]) * x0 + t[:, None] * x1
            return {"loss": F.mse_loss(self.model(xt, t), x1 - x0)}

        def test_step(self, batch):
            return self.train_step(batch)

        def logging(self, step_dict):
            super().logging(step_dict)
            if self.mode == "train":
                params = {k: v.detach().clone() for k, v in self.model.named_parameters()}
                if self.shadow is None:
                    self.shadow = params
                for k, v in self.shadow.items():
                    v.mul_(0.8).add_(params[k], alpha=0.2)

        def toggle(self, mode=None):
            super().toggle(mode)
            if self.mode == "test":
                self.backup = copy.deepcopy(self.model.state_dict())
                self.model.load_state_dict(self.shadow)
            elif self.backup is not None:
                self.model.load_state_dict(self.backup)
                self.backup = None

    model = TimeNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    trainer = Flow(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    train, valid = loaders()
    trainer.run(2, train, valid)
    trainer.inference(valid)
    trainer.run(1, train, valid)
    trainer.extra = trainer.shadow
    return trainer


@port
def latent_diffusion_behind_an_autoencoder_that_is_trained_first():
    """One trainer's model is frozen and encodes the batches of a second trainer, within the same process."""

    class Vae(Trainer):
        def train_step(self, batch):
            mu, logvar = self.model["encoder"](batch[0].flatten(1)).chunk(2, 1)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
            return {"loss": F.mse_loss(self.model["decoder"](z), batch[0].flatten(1)) + 1e-2 * kl, "kl": kl}

        test_step = train_step

    class Latent(Trainer):
        def train_step(self, batch):
            with torch.no_grad():
                z = self.vae["encoder"](batch[0].flatten(1)).chunk(2, 1)[0]
            t, noise = torch.rand(len(z)), torch.randn_like(z)
            return {"loss": F.mse_loss(self.model(z + t[:, None] * noise, t), noise)}

        test_step = train_step

    vae = nn.ModuleDict({"encoder": mlp(64, 8), "decoder": mlp(4, 64)})
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    loader = DataLoader(images(), 8, shuffle=True)
    first = Vae(vae, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    first.run(2, loader)
    for p in vae.parameters():
        p.requires_grad = False
    vae.eval()
    model = TimeNet(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    second = Latent(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    second.vae = vae
    second.run(2, loader, loader)
    second.extra = [vae, dict(first.log_train), [m.training for m in vae.modules()]]
    return second
