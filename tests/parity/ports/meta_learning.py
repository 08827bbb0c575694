"""Meta-learning: inner loops with second derivatives, weights moved by hand, episodes."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, mlp, points, port


def tasks(n=12, shots=10):
    """Return the amplitudes and phases of sine waves, as the MAML paper's regression has them."""
    generator = torch.Generator().manual_seed(3)
    amplitude, phase = torch.rand(n, 1, generator=generator) * 5, torch.rand(n, 1, generator=generator) * 3
    x = torch.rand(n, shots, generator=generator) * 10 - 5
    return TensorDataset(x, amplitude * torch.sin(x + phase))


@port
def maml_with_second_derivatives_through_functional_call():
    """Adapted weights are a dict; the inner loop also runs in tests, where gradients are off outside of it."""

    class Maml(Trainer):
        inner_lr, inner_steps = 0.01, 2

        def adapt(self, x, y):
            params = dict(self.model.named_parameters())
            with torch.enable_grad():
                for _ in range(self.inner_steps):
                    loss = F.mse_loss(functional_call(self.model, params, (x,)), y)
                    grads = torch.autograd.grad(loss, list(params.values()), create_graph=self.mode == "train")
                    params = {k: p - self.inner_lr * g for (k, p), g in zip(params.items(), grads)}
            return params

        def train_step(self, batch):
            x, y = batch
            losses = []
            for xi, yi in zip(x[..., None], y[..., None]):
                params = self.adapt(xi[:5], yi[:5])
                losses.append(F.mse_loss(functional_call(self.model, params, (xi[5:],)), yi[5:]))
            return {"loss": torch.stack(losses).mean(), "worst": max(float(v) for v in losses)}

        test_step = train_step

    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Maml(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=10.0, log_bar=False)
    trainer.run(2, DataLoader(tasks(), 4, shuffle=True), DataLoader(tasks(4), 2))
    return trainer


@port
def reptile_that_moves_the_weights_without_the_trainers_optimizer():
    """The trainer's optimizer, made for a copy, is never the one that changes the model."""

    class Reptile(Trainer):
        def run_batch(self, batch, **kwargs):
            x, y = self._to_device(*batch)
            before = copy.deepcopy(self.model.state_dict())
            inner = torch.optim.SGD(self.model.parameters(), lr=0.02)
            for xi, yi in zip(x[..., None], y[..., None]):
                loss = F.mse_loss(self.model(xi), yi)
                inner.zero_grad()
                loss.backward()
                inner.step()
            after = self.model.state_dict()
            step = 0.5 * (1 - self.progress_checker.get_epoch() / 4) if self.mode == "train" else 0.0
            self.model.load_state_dict({k: before[k] + (after[k] - before[k]) * step for k in before})
            self.logging({"loss": loss})
            self.progress_checker.update_step()

        train_step = test_step = lambda self, batch: None

    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    unused = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    trainer = Reptile(model, CPU, "train", unused, constant(unused), log_bar=False)
    trainer.run(3, DataLoader(tasks(), 4, shuffle=True), DataLoader(tasks(4), 2))
    return trainer


class Episodes(Sampler):
    """N-way episodes, drawn by `numpy.random`."""

    def __init__(self, labels, ways, per_class, episodes):
        self.index = [np.argwhere(labels.numpy() == c).reshape(-1) for c in np.unique(labels.numpy())]
        self.ways, self.per_class, self.episodes = ways, per_class, episodes

    def __len__(self):
        return self.episodes

    def __iter__(self):
        for _ in range(self.episodes):
            classes = np.random.choice(len(self.index), self.ways, replace=False)
            yield np.concatenate([np.random.permutation(self.index[c])[: self.per_class] for c in classes]).tolist()


@port
def prototypical_networks_with_episodes_by_numpy():
    """A batch sampler draws classes and samples; the label is the position in the batch."""

    class Protonet(Trainer):
        ways, shots = 3, 2

        def train_step(self, batch):
            x, _ = batch
            z = self.model(x).view(self.ways, -1, 6)
            prototypes, queries = z[:, : self.shots].mean(1), z[:, self.shots :].reshape(-1, 6)
            logits = -(torch.cdist(queries, prototypes) ** 2)
            target = torch.arange(self.ways).repeat_interleave(len(queries) // self.ways)
            return {"loss": F.cross_entropy(logits, target), "acc": (logits.argmax(1) == target).float().mean()}

        test_step = train_step

        def metric_on_epoch_end(self):
            log = self.log_train if self.mode == "train" else self.log_test
            acc = torch.stack(log["acc"])
            return {"acc": acc.mean().item(), "confidence": 1.96 * acc.std().item() / np.sqrt(len(acc))}

    dataset = points(80, classes=5)
    model = mlp(10, 6)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    trainer = Protonet(model, CPU, "train", optimizer, scheduler, log_bar=False)
    samplers = [Episodes(dataset.tensors[1], 3, 5, n) for n in (6, 4)]
    trainer.run(3, *(DataLoader(dataset, batch_sampler=sampler) for sampler in samplers))
    return trainer


@port
def hypernetwork_whose_weights_are_made_for_each_task():
    """The trained network gives the weights of another one, which is none of the trainer's."""

    class Hyper(Trainer):
        def train_step(self, batch):
            x, y = batch
            w = self.model(torch.cat([x[:, :4], y[:, :4]], 1))
            w1, b1, w2 = w[:, :4].unsqueeze(1), w[:, 4:8].unsqueeze(1), w[:, 8:].unsqueeze(2)
            out = torch.tanh(x[:, 4:, None] @ w1 + b1) @ w2
            return {"loss": F.mse_loss(out[..., 0], y[:, 4:])}

        test_step = train_step

    model = mlp(8, 12)
    optimizer = torch.optim.RAdam(model.parameters(), 1e-2)
    trainer = Hyper(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=1.0, log_bar=False)
    trainer.run(2, DataLoader(tasks(), 4, shuffle=True), DataLoader(tasks(4), 4))
    return trainer
