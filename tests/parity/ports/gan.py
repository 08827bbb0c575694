"""Generative adversarial networks: several critic steps, penalties, pools of images, networks in a dict."""

from __future__ import annotations

import itertools
import random

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.trainer import Trainer

from .parts import CPU, constant, images, loaders, mlp, port


@port
def gan_whose_train_step_trains_the_discriminator_by_the_way():
    """After PyTorch's DCGAN example, pressed into a ``train_step``: its discriminator has an optimizer of its own."""

    class DcganTrainer(Trainer):
        def __init__(self, netG, netD, optimizerG, optimizerD, **kwargs):
            super().__init__(netG, CPU, "train", optimizerG, constant(optimizerG), **kwargs)
            self.netD, self.optimizerD = netD, optimizerD

        def train_step(self, batch):
            real, _ = batch
            self.netD.zero_grad()
            label = torch.full((len(real),), 1.0)
            output = self.netD(real).view(-1)
            errD_real = F.binary_cross_entropy_with_logits(output, label)
            errD_real.backward()
            fake = self.model(torch.randn(len(real), 4, 1, 1))
            label.fill_(0.0)
            errD_fake = F.binary_cross_entropy_with_logits(self.netD(fake.detach()).view(-1), label)
            errD_fake.backward()
            self.optimizerD.step()
            label.fill_(1.0)
            errG = F.binary_cross_entropy_with_logits(self.netD(fake).view(-1), label)
            return {"loss": errG, "errD": errD_real + errD_fake, "D_x": output.sigmoid().mean().item()}

        def test_step(self, batch):
            return {"loss": -self.netD(self.model(torch.randn(4, 4, 1, 1))).mean()}

    netG = nn.Sequential(
        nn.ConvTranspose2d(4, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh()
    )
    netD = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4))
    optimizers = [torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.999)) for net in (netG, netD)]
    trainer = DcganTrainer(netG, netD, *optimizers, log_bar=False)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 8))
    trainer.extra = [netD, optimizers[1]]
    return trainer


@port
def wgan_gp_with_several_critic_steps():
    """Critic steps in an own ``run_batch``, a penalty by double backward, and a generator step every third batch."""

    class WganGp(Trainer):
        n_critic, lambda_gp = 3, 10.0

        def penalty(self, real, fake):
            alpha = torch.rand(len(real), 1)
            between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
            score = self.critic(between)
            (gradient,) = torch.autograd.grad(score, between, torch.ones_like(score), create_graph=True)
            return ((gradient.norm(2, dim=1) - 1) ** 2).mean()

        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            real, _ = self._to_device(*batch)
            self.model.train()
            self.optimizer_D.zero_grad()
            fake = self.model(torch.randn(len(real), 4)).detach()
            d_loss = self.critic(fake).mean() - self.critic(real).mean() + self.lambda_gp * self.penalty(real, fake)
            d_loss.backward()
            self.optimizer_D.step()
            log = {"loss": d_loss}
            if self.progress_checker.get_step() % self.n_critic == 0:
                self.optimizer.zero_grad()
                g_loss = -self.critic(self.model(torch.randn(len(real), 4))).mean()
                g_loss.backward()
                self.optimizer.step()
                log["output_g"] = g_loss
            self.logging(log)
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch):
            real, _ = batch
            return {"loss": self.critic(real).mean() - self.critic(self.model(torch.randn(len(real), 4))).mean()}

    generator = mlp(4, 10)
    optimizer = torch.optim.RMSprop(generator.parameters(), lr=1e-3)
    trainer = WganGp(generator, CPU, "train", optimizer, lr_scheduler.StepLR(optimizer, 1, 0.9), log_bar=False)
    trainer.critic = mlp(10, 1)
    trainer.optimizer_D = torch.optim.RMSprop(trainer.critic.parameters(), lr=1e-3)
    trainer.run(3, *loaders())
    trainer.extra = [trainer.critic, trainer.optimizer_D]
    return trainer


@port
def gan_with_networks_and_optimizers_in_dicts():
    """The discriminator is the trainer's model, since it has the loss of interest; the generator lies in a dict."""
    nets = {"G": mlp(4, 10), "D": mlp(10, 1)}
    optims = {name: torch.optim.Adam(net.parameters(), lr=2e-3) for name, net in nets.items()}

    class DictGan(Trainer):
        def run_batch(self, batch, **kwargs):
            x, _ = self._to_device(*batch)
            losses = self.losses(x)
            if self.mode == "train":
                for name, loss in losses.items():
                    optims[name].zero_grad()
                    loss().backward()
                    optims[name].step()
            with torch.set_grad_enabled(self.mode == "train"):
                values = {name: loss() for name, loss in losses.items()}
            self.logging({"loss": values["D"], **values})
            self.progress_checker.update_step()

        def losses(self, x):
            z = torch.randn(len(x), 4)
            d, g = nets["D"], nets["G"]
            return {
                "D": lambda: (d(x) - 1).square().mean() + d(g(z).detach()).square().mean(),
                "G": lambda: (d(g(z)) - 1).square().mean(),
            }

        train_step = test_step = None

    trainer = DictGan(nets["G"], CPU, "train", optims["D"], constant(optims["D"]), log_bar=False)
    trainer.run(2, *loaders())
    trainer.extra = [nets, optims]
    return trainer


class ImagePool:
    """The pool of CycleGAN: half of the images that come out are older ones."""

    def __init__(self, size):
        self.size, self.images = size, []

    def query(self, images):
        chosen = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image)
                chosen.append(image)
            elif random.uniform(0, 1) > 0.5:
                i = random.randint(0, self.size - 1)
                chosen.append(self.images[i].clone())
                self.images[i] = image
            else:
                chosen.append(image)
        return torch.stack(chosen)


@port
def cyclegan_with_an_image_pool_by_random():
    """Two generators in one optimizer by ``itertools.chain``, two discriminators in another, and a pool by `random`."""

    class CycleGan(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.netD = nn.ModuleDict({"A": mlp(10, 1), "B": mlp(10, 1)})
            self.optimizer_D = torch.optim.Adam(
                itertools.chain(self.netD["A"].parameters(), self.netD["B"].parameters()), lr=2e-3, betas=(0.5, 0.999)
            )
            self.scheduler_D = lr_scheduler.LambdaLR(self.optimizer_D, lambda e: 1.0 - max(0, e - 1) / 3)
            self.pools = {"A": ImagePool(6), "B": ImagePool(6)}

        def train_step(self, batch):
            x, _ = batch
            real = {"A": x, "B": x.flip(1)}
            fake = {"B": self.model["AB"](real["A"]), "A": self.model["BA"](real["B"])}
            cycled = {"A": self.model["BA"](fake["B"]), "B": self.model["AB"](fake["A"])}
            for p in self.netD.parameters():
                p.requires_grad_(False)
            loss = sum((self.netD[s](fake[s]) - 1).square().mean() + 10 * F.l1_loss(cycled[s], real[s]) for s in "AB")
            return {"loss": loss}

        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)
            if self.mode == "train":
                self.step_D(batch[0])

        def step_D(self, x):
            for p in self.netD.parameters():
                p.requires_grad_(True)
            self.optimizer_D.zero_grad()
            for side, source, real in (("B", "AB", x.flip(1)), ("A", "BA", x)):
                fake = self.pools[side].query(self.model[source](x))
                loss = ((self.netD[side](real) - 1).square().mean() + self.netD[side](fake).square().mean()) * 0.5
                loss.backward()
            self.optimizer_D.step()

        def test_step(self, batch):
            return {"loss": F.l1_loss(self.model["BA"](self.model["AB"](batch[0])), batch[0])}

        def check_better(self, cur_epoch, cur_loss):
            self.scheduler_D.step()
            return super().check_better(cur_epoch, cur_loss)

    generators = nn.ModuleDict({"AB": mlp(10, 10), "BA": mlp(10, 10)})
    optimizer = torch.optim.Adam(
        itertools.chain(generators["AB"].parameters(), generators["BA"].parameters()), lr=2e-3, betas=(0.5, 0.999)
    )
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda e: 1.0 - max(0, e - 1) / 3)
    trainer = CycleGan(generators, CPU, "train", optimizer, scheduler, log_bar=False)
    trainer.run(3, *loaders())
    trainer.extra = [trainer.netD, trainer.optimizer_D, [pool.images for pool in trainer.pools.values()]]
    return trainer


@port
def conditional_gan_with_spectral_norm_and_two_timescales():
    """The discriminator is normed by power iteration in each forward; hinge losses; labels by an embedding."""

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body = nn.Embedding(3, 4), mlp(8, 64)

        def forward(self, z, y):
            return self.body(torch.cat([z, self.embed(y)], 1)).tanh().view(-1, 1, 8, 8)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            norm = nn.utils.parametrizations.spectral_norm
            self.body = nn.Sequential(nn.Flatten(), norm(nn.Linear(64, 16)), nn.LeakyReLU(0.1))
            self.out, self.embed = norm(nn.Linear(16, 1)), norm(nn.Embedding(3, 16))

        def forward(self, x, y):
            h = self.body(x)
            return self.out(h) + (h * self.embed(y)).sum(1, keepdim=True)

    class SnGan(Trainer):
        def run_batch(self, batch, **kwargs):
            x, y = self._to_device(*batch)
            for _ in range(2):
                z, fake_y = torch.randn(len(x), 4), torch.randint(3, (len(x),))
                with torch.no_grad():
                    fake = self.model(z, fake_y)
                d_loss = F.relu(1 - self.netD(x, y)).mean() + F.relu(1 + self.netD(fake, fake_y)).mean()
                self.optD.zero_grad(set_to_none=False)
                d_loss.backward()
                self.optD.step()
            z, fake_y = torch.randn(len(x), 4), torch.randint(3, (len(x),))
            g_loss = -self.netD(self.model(z, fake_y), fake_y).mean()
            self.optimizer.zero_grad()
            g_loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.logging({"loss": g_loss, "d_loss": d_loss})
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    netG = Generator()
    optimizer = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.0, 0.9))
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.99)
    trainer = SnGan(netG, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, log_bar=False)
    trainer.netD = Discriminator()
    trainer.optD = torch.optim.Adam(trainer.netD.parameters(), lr=4e-3, betas=(0.0, 0.9))
    trainer.run(2, DataLoader(images(), 8, shuffle=True, drop_last=True))
    trainer.extra = [trainer.netD, trainer.optD]
    return trainer
