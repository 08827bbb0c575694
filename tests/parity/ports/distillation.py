"""Distillation: teachers that are frozen, averaged, peers, or the student of before."""

from __future__ import annotations

import copy
import random

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from zae_engine.trainer import Trainer

from .parts import CPU, constant, loaders, mlp, port


class Student(Trainer):
    """Hinton's distillation."""

    def __init__(self, *args, teacher, temperature=4.0, alpha=0.7, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher, self.T, self.alpha = teacher, temperature, alpha

    def train_step(self, batch):
        x, y = batch
        with torch.no_grad():
            soft = F.softmax(self.teacher(x) / self.T, 1)
        output = self.model(x)
        kd = F.kl_div(F.log_softmax(output / self.T, 1), soft, reduction="batchmean") * self.T**2
        ce = F.cross_entropy(output, y)
        return {"loss": self.alpha * kd + (1 - self.alpha) * ce, "kd": kd, "ce": ce}

    def test_step(self, batch):
        x, y = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean(), "output": output}


@port
def distillation_from_a_frozen_teacher_in_training_mode():
    """The teacher's dropout stays on, as happens where nobody calls ``eval``."""
    teacher = nn.Sequential(nn.Linear(10, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 2))
    model = mlp(hidden=4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [1, 2], 0.2)
    trainer = Student(model, CPU, "train", optimizer, scheduler, teacher=teacher, log_bar=False)
    trainer.run(3, *loaders())
    trainer.extra = trainer.inference(loaders()[1])
    return trainer


@port
def born_again_networks_over_generations():
    """Each generation is a new trainer whose teacher is a copy of the model of the one before."""
    model = mlp()
    teacher = copy.deepcopy(model).requires_grad_(False).eval()
    seen = []
    for generation in range(3):
        model = mlp()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        trainer = Student(
            model, CPU, "train", optimizer, constant(optimizer), teacher=teacher, log_bar=False, alpha=0.3 * generation
        )
        trainer.run(1, *loaders())
        seen.append((trainer.loss_buffer, dict(trainer.test_metrics)))
        teacher = copy.deepcopy(trainer.model).requires_grad_(False).eval()
    trainer.extra = [seen, teacher]
    return trainer


@port
def mean_teacher_with_noise_and_a_ramp_of_the_consistency():
    """The teacher's weights and buffers are averages of the student's; noise by `random` and torch."""

    class MeanTeacher(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.teacher = copy.deepcopy(self.model)
            for p in self.teacher.parameters():
                p.detach_()
            self.global_step = 0

        def train_step(self, batch):
            x, y = batch
            noisy = x + torch.randn_like(x) * random.uniform(0.0, 0.2)
            output = self.model(noisy)
            with torch.no_grad():
                target = self.teacher(x + torch.randn_like(x) * random.gauss(0.0, 0.1)).softmax(1)
            ramp = min(1.0, self.progress_checker.get_step() / 10)
            labelled = torch.arange(len(y)) < len(y) // 2
            loss = F.cross_entropy(output[labelled], y[labelled]) + ramp * F.mse_loss(output.softmax(1), target)
            return {"loss": loss, "ramp": ramp}

        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)
            if self.mode == "train":
                self.global_step += 1
                alpha = min(1 - 1 / (self.global_step + 1), 0.99)
                for ema, p in zip(self.teacher.parameters(), self.model.parameters()):
                    ema.data.mul_(alpha).add_(p.data, alpha=1 - alpha)

        def test_step(self, batch):
            self.teacher.eval()
            loss = F.cross_entropy(self.teacher(batch[0]), batch[1])
            self.teacher.train()
            return {"loss": loss}

    model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    trainer = MeanTeacher(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=2.0, log_bar=False)
    trainer.run(3, *loaders())
    trainer.extra = [trainer.teacher, [m.training for m in trainer.teacher.modules()]]
    return trainer


@port
def deep_mutual_learning_of_peers_in_a_list():
    """Peers and their optimizers lie in lists; the trainer's own model and optimizer are the first ones."""

    class Mutual(Trainer):
        def run_batch(self, batch, **kwargs):
            x, y = self._to_device(*batch)
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            for peer in self.peers:
                peer.train()
            losses = []
            for i, (peer, optimizer) in enumerate(zip(self.peers, self.optimizers)):
                outputs = [p(x) for p in self.peers]
                loss = F.cross_entropy(outputs[i], y)
                for j, other in enumerate(outputs):
                    if i != j:
                        loss = loss + F.kl_div(
                            outputs[i].log_softmax(1), other.detach().softmax(1), reduction="batchmean"
                        )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss)
            self.logging({"loss": losses[0], "last": losses[-1]})
            self.progress_checker.update_step()

        def train_step(self, batch):
            raise NotImplementedError

        def test_step(self, batch):
            for peer in self.peers:
                peer.eval()
            mean = torch.stack([peer(batch[0]) for peer in self.peers]).mean(0)
            return {"loss": F.cross_entropy(mean, batch[1]), "output": mean}

        def check_better(self, cur_epoch, cur_loss):
            for scheduler in self.schedulers[1:]:
                scheduler.step()
            return super().check_better(cur_epoch, cur_loss)

    peers = [mlp(hidden=h) for h in (8, 12, 16)]
    optimizers = [torch.optim.SGD(p.parameters(), 0.1, momentum=0.9) for p in peers]
    schedulers = [lr_scheduler.CosineAnnealingLR(o, 3) for o in optimizers]
    trainer = Mutual(peers[0], CPU, "train", optimizers[0], schedulers[0], log_bar=False)
    trainer.peers, trainer.optimizers, trainer.schedulers = peers, optimizers, schedulers
    trainer.run(3, *loaders())
    trainer.extra = [peers, optimizers]
    return trainer
