"""Contrastive and self-supervised learning: queues, momentum encoders, two views."""

from __future__ import annotations

import copy
import random

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, images, mlp, points, port


class TwoViews(Dataset):
    """Two augmentations of each vector, drawn by `random` and torch, as transforms of images are."""

    def __init__(self, n=32):
        self.x, self.y = points(n).tensors

    def __len__(self):
        return len(self.x)

    def view(self, x):
        if random.random() < 0.5:
            x = x.flip(0)
        if random.random() < 0.8:
            i = random.randrange(8)
            x = x.clone()
            x[i : i + 2] = 0
        return x + 0.1 * torch.randn(10)

    def __getitem__(self, i):
        return [self.view(self.x[i]), self.view(self.x[i])], self.y[i]


@port
def moco_with_a_queue_and_a_momentum_encoder():
    """The queue is a buffer with a pointer; keys are shuffled; the momentum encoder lies within the model."""

    class Moco(nn.Module):
        def __init__(self, dim=6, K=24, m=0.9, T=0.2):
            super().__init__()
            self.K, self.m, self.T = K, m, T
            self.encoder_q, self.encoder_k = mlp(10, dim), mlp(10, dim)
            self.encoder_k.load_state_dict(self.encoder_q.state_dict())
            self.encoder_k.requires_grad_(False)
            self.register_buffer("queue", F.normalize(torch.randn(dim, K), dim=0))
            self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

        def forward(self, im_q, im_k):
            q = F.normalize(self.encoder_q(im_q), dim=1)
            with torch.no_grad():
                for pq, pk in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
                    pk.data = pk.data * self.m + pq.data * (1.0 - self.m)
                shuffle = torch.randperm(len(im_k))
                k = F.normalize(self.encoder_k(im_k[shuffle]), dim=1)[torch.argsort(shuffle)]
            positive = torch.einsum("nc,nc->n", [q, k]).unsqueeze(-1)
            negative = torch.einsum("nc,ck->nk", [q, self.queue.clone().detach()])
            logits = torch.cat([positive, negative], dim=1) / self.T
            if self.training:
                ptr = int(self.queue_ptr)
                self.queue[:, ptr : ptr + len(k)] = k.T
                self.queue_ptr[0] = (ptr + len(k)) % self.K
            return logits, torch.zeros(len(q), dtype=torch.long)

    class MocoTrainer(Trainer):
        def train_step(self, batch):
            (im_q, im_k), _ = batch
            output, target = self.model(im_q, im_k)
            return {"loss": F.cross_entropy(output, target), "acc1": (output.argmax(1) == 0).float().mean()}

        test_step = train_step

    model = Moco()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    trainer = MocoTrainer(model, CPU, "train", optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 3), log_bar=False)
    loader = DataLoader(TwoViews(), 8, shuffle=True, drop_last=True)
    trainer.run(3, loader, DataLoader(TwoViews(16), 8))
    return trainer


@port
def simclr_with_augmentations_by_random_in_workers():
    """NT-Xent over both views; the transforms draw in worker processes."""

    class SimClr(Trainer):
        def train_step(self, batch):
            views, _ = batch
            z = F.normalize(self.model(torch.cat(views)), dim=1)
            sim = z @ z.T / 0.5
            sim = sim.masked_fill(torch.eye(len(z), dtype=torch.bool), -9e15)
            pos = torch.arange(len(z)).roll(len(z) // 2)
            nll = -sim[torch.arange(len(z)), pos] + torch.logsumexp(sim, dim=-1)
            return {"loss": nll.mean(), "top1": (sim.argmax(-1) == pos).float().mean()}

        test_step = train_step

    model = mlp(10, 6)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=1e-4)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 2, eta_min=1e-4)
    trainer = SimClr(model, CPU, "train", optimizer, scheduler, log_bar=False)
    trainer.run(2, DataLoader(TwoViews(), 8, shuffle=True, num_workers=2), DataLoader(TwoViews(16), 8))
    return trainer


class Lars(torch.optim.Optimizer):
    """LARS, as the Barlow Twins repository has it."""

    def __init__(self, params, lr, weight_decay=0, momentum=0.9, eta=0.001):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "eta": eta})

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                dp = p.grad
                if dp is None:
                    continue
                if p.ndim > 1:
                    dp = dp.add(p, alpha=g["weight_decay"])
                    q = g["eta"] * torch.norm(p) / torch.norm(dp)
                    dp = dp.mul(q)
                state = self.state[p]
                if "mu" not in state:
                    state["mu"] = torch.zeros_like(p)
                state["mu"].mul_(g["momentum"]).add_(dp)
                p.add_(state["mu"], alpha=-g["lr"])


@port
def barlow_twins_with_lars_and_a_rate_set_by_hand():
    """The rate is written into the parameter groups before each batch; the step takes no closure."""

    class Barlow(Trainer):
        def adjust_learning_rate(self, step):
            q = min(1.0, step / 4)
            self.optimizer.param_groups[0]["lr"] = 0.2 * q
            self.optimizer.param_groups[1]["lr"] = 0.0048 * q

        def train_step(self, batch):
            self.adjust_learning_rate(self.progress_checker.get_step())
            (y1, y2), _ = batch
            c = self.model(y1).T @ self.model(y2) / len(y1)
            on = (torch.diagonal(c) - 1).pow(2).sum()
            off = c.flatten()[:-1].view(5, 7)[:, 1:].flatten().pow(2).sum()
            return {"loss": on + 0.0051 * off, "on": on, "lr_0": self.optimizer.param_groups[0]["lr"]}

        def test_step(self, batch):
            return {"loss": (self.model(batch[0][0]) - self.model(batch[0][1])).square().mean()}

    model = nn.Sequential(
        nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6), nn.BatchNorm1d(6, affine=False)
    )
    weights, biases = [p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim == 1]
    optimizer = Lars([{"params": weights}, {"params": biases}], lr=0, weight_decay=1e-6)
    trainer = Barlow(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(TwoViews(), 8, shuffle=True), DataLoader(TwoViews(16), 8))
    return trainer


@port
def byol_with_an_optimizer_over_a_part_of_a_container():
    """Online, target and predictor in one ``ModuleDict``; the optimizer holds two of them."""

    class Byol(Trainer):
        tau = 0.95

        def loss_fn(self, x, y):
            return 2 - 2 * (F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).sum(-1)

        def train_step(self, batch):
            (x1, x2), _ = batch
            p1, p2 = (self.model["predictor"](self.model["online"](x)) for x in (x1, x2))
            with torch.no_grad():
                t1, t2 = self.model["target"](x1), self.model["target"](x2)
            return {"loss": (self.loss_fn(p1, t2.detach()) + self.loss_fn(p2, t1.detach())).mean()}

        def logging(self, step_dict):
            super().logging(step_dict)
            if self.mode == "train":
                with torch.no_grad():
                    for t, o in zip(self.model["target"].parameters(), self.model["online"].parameters()):
                        t.copy_(self.tau * t + (1 - self.tau) * o)

        def test_step(self, batch):
            features = self.model["online"](batch[0][0])
            return {"loss": -features.std(0).mean(), "output": features}

    online = mlp(10, 8)
    model = nn.ModuleDict({"online": online, "predictor": mlp(8, 8), "target": copy.deepcopy(online)})
    model["target"].requires_grad_(False)
    optimizer = torch.optim.Adam([*model["online"].parameters(), *model["predictor"].parameters()], lr=1e-2)
    trainer = Byol(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=0.5, log_bar=False)
    trainer.run(3, DataLoader(TwoViews(), 8, shuffle=True), DataLoader(TwoViews(16), 8))
    return trainer


@port
def masked_autoencoder_with_a_probe_trained_beside_it():
    """Random masks by noise and argsort; a linear probe with its own optimizer learns on detached features."""

    class Mae(Trainer):
        def train_step(self, batch):
            x, y = batch
            patches = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(1, 3).flatten(2)
            noise = torch.rand(patches.shape[:2])
            keep = noise.argsort(1)[:, :6]
            kept = torch.gather(patches, 1, keep[..., None].expand(-1, -1, 4))
            code = self.model["encoder"](kept).mean(1)
            loss = F.mse_loss(self.model["decoder"](code), patches.flatten(1))
            if self.mode == "train":
                probe_loss = F.cross_entropy(self.probe(code.detach()), y)
                self.probe_optimizer.zero_grad()
                probe_loss.backward()
                self.probe_optimizer.step()
                return {"loss": loss, "probe": probe_loss}
            return {"loss": loss, "output": self.probe(code)}

        test_step = train_step

    model = nn.ModuleDict({"encoder": mlp(4, 8), "decoder": mlp(8, 64)})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95))
    trainer = Mae(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.probe = nn.Linear(8, 3)
    trainer.probe_optimizer = torch.optim.SGD(trainer.probe.parameters(), 0.1)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 8))
    trainer.extra = [trainer.probe, trainer.inference(DataLoader(images(6, 3), 3))]
    return trainer
