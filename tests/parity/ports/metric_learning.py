"""Metric learning: miners, margins, proxies and centres with optimizers of their own."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Sampler

from zae_engine.trainer import Trainer

from .parts import CPU, constant, mlp, points, port


class PkSampler(Sampler):
    """P classes with K samples each, drawn by `numpy.random`."""

    def __init__(self, labels, p=3, k=3, batches=5):
        self.labels, self.p, self.k, self.batches = labels.numpy(), p, k, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            chosen = np.random.choice(np.unique(self.labels), self.p, replace=False)
            yield [int(i) for c in chosen for i in np.random.choice(np.flatnonzero(self.labels == c), self.k)]


@port
def triplets_mined_within_the_batch():
    """Batch-hard mining; epochs without a triplet return a loss that is multiplied by zero."""

    class Triplet(Trainer):
        def mine(self, z, y):
            d, same = torch.cdist(z, z), y[:, None] == y[None]
            positive = (d - 1e9 * ~same).argmax(1)
            negative = (d + 1e9 * same).argmin(1)
            semihard = torch.nonzero(d.gather(1, negative[:, None]) - d.gather(1, positive[:, None]) < 0.5)[:, 0]
            return semihard, positive[semihard], negative[semihard]

        def train_step(self, batch):
            x, y = batch
            z = F.normalize(self.model(x), dim=1)
            with torch.no_grad():
                a, p, n = self.mine(z, y)
            if not len(a):
                return {"loss": z.sum() * 0, "n": 0}
            return {"loss": F.triplet_margin_loss(z[a], z[p], z[n], 0.5), "n": len(a)}

        def test_step(self, batch):
            return {**self.train_step(batch), "output": self.model(batch[0])}

        def metric_on_epoch_end(self):
            if self.mode == "train":
                return {"mined": float(np.mean(self.log_train["n"]))}
            return {"spread": float(torch.cat(self.log_test["output"]).std())}

    dataset = points(60, classes=4)
    model = mlp(10, 6)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Triplet(model, CPU, "train", optimizer, lr_scheduler.StepLR(optimizer, 2, 0.1), log_bar=False)
    trainer.run(3, DataLoader(dataset, batch_sampler=PkSampler(dataset.tensors[1])), DataLoader(dataset, 20))
    return trainer


@port
def arcface_with_a_head_beside_the_model():
    """The head belongs to the loss, lies on the trainer and shares the optimizer in a group of its own."""

    class ArcMargin(nn.Module):
        def __init__(self, size, classes, s=8.0, m=0.3):
            super().__init__()
            self.weight, self.s, self.m = nn.Parameter(torch.empty(classes, size)), s, m
            nn.init.xavier_uniform_(self.weight)

        def forward(self, x, y):
            cosine = F.linear(F.normalize(x), F.normalize(self.weight))
            sine = (1 - cosine.square()).clamp(0, 1).sqrt()
            phi = cosine * math.cos(self.m) - sine * math.sin(self.m)
            one_hot = F.one_hot(y, len(self.weight)).float()
            return (one_hot * phi + (1 - one_hot) * cosine) * self.s

    class ArcFace(Trainer):
        def __init__(self, *args, criterion, **kwargs):
            self.criterion = criterion
            super().__init__(*args, **kwargs)

        def train_step(self, batch):
            x, y = batch
            return {"loss": F.cross_entropy(self.criterion(self.model(x), y), y)}

        test_step = train_step

    model, head = mlp(10, 6), ArcMargin(6, 4)
    optimizer = torch.optim.SGD(
        [{"params": model.parameters()}, {"params": head.parameters(), "weight_decay": 5e-4, "lr": 0.1}],
        0.02,
        momentum=0.9,
    )
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda e: 0.9**e, lambda e: 0.5**e])
    trainer = ArcFace(model, CPU, "train", optimizer, scheduler, criterion=head, gradient_clip=5.0, log_bar=False)
    dataset = points(48, classes=4)
    trainer.run(3, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 16))
    trainer.extra = head
    return trainer


@port
def centre_loss_with_an_optimizer_stepped_within_the_hook():
    """The centres' gradients are rescaled by hand after the backward pass, by a hook of the model's optimizer."""

    class Centres(nn.Module):
        def __init__(self, classes, size):
            super().__init__()
            self.centers = nn.Parameter(torch.randn(classes, size))

        def forward(self, x, y):
            return (x - self.centers[y]).square().sum(1).clamp(1e-12, 1e12).mean()

    class CentreLoss(Trainer):
        weight_cent = 0.1

        def train_step(self, batch):
            x, y = batch
            features = self.model[0](x)
            xent, cent = F.cross_entropy(self.model[1](features), y), centres(features, y)
            if self.mode == "train":
                optimizer_centloss.zero_grad()
            return {"loss": xent + self.weight_cent * cent, "cent": cent}

        test_step = train_step

    centres = Centres(4, 6)
    optimizer_centloss = torch.optim.SGD(centres.parameters(), lr=0.5)
    model = nn.Sequential(mlp(10, 6), nn.Linear(6, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def after_step(*_):
        for param in centres.parameters():
            param.grad.data *= 1.0 / CentreLoss.weight_cent
        optimizer_centloss.step()

    optimizer.register_step_post_hook(after_step)
    trainer = CentreLoss(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    dataset = points(48, classes=4)
    trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 16))
    trainer.extra = [centres, optimizer_centloss]
    return trainer


@port
def proxies_alone_are_trained_on_frozen_embeddings():
    """The model stays as it is; the optimizer holds proxies that lie in the loss function, a closure."""

    def proxy_nca(proxies):
        def loss(z, y):
            d = torch.cdist(F.normalize(z), F.normalize(proxies)) ** 2
            return F.cross_entropy(-d, y)

        return loss

    class Proxies(Trainer):
        def train_step(self, batch):
            with torch.no_grad():
                z = self.model(batch[0])
            return {"loss": criterion(z, batch[1])}

        def test_step(self, batch):
            return {"loss": criterion(self.model(batch[0]), batch[1])}

    proxies = torch.randn(4, 6, requires_grad=True)
    criterion = proxy_nca(proxies)
    model = mlp(10, 6)
    optimizer = torch.optim.Adam([proxies], lr=0.05)
    trainer = Proxies(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    dataset = points(48, classes=4)
    trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 16))
    trainer.extra = proxies
    return trainer
