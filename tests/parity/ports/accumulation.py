"""Gradient accumulation by hand."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from .parts import CPU, Classifier, constant, loaders, mlp, points, port


@port
def accumulation_over_batches_in_an_own_run_batch():
    """Steps every third batch, and at the end of the epoch with what is left; the scheduler steps with the updates."""

    class Accumulating(Classifier):
        accumulation_steps = 3

        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            batch = self._to_device(*batch)
            self.model.train()
            step_dict = self.train_step(batch)
            (step_dict["loss"] / self.accumulation_steps).backward()
            done = len(self.log_train["loss"]) + 1
            if done % self.accumulation_steps == 0 or done == len(self.loader):
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            self.logging(step_dict)
            self.progress_checker.update_step()

    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=12)
    trainer = Accumulating(model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, log_bar=False)
    trainer.run(3, DataLoader(points(60), 8, shuffle=True), loaders()[1])
    return trainer


@port
def accumulation_by_an_optimizer_that_skips_steps():
    """The optimizer's own ``zero_grad`` and ``step`` do nothing but every second time."""

    class Skipping(torch.optim.SGD):
        count = 0

        def zero_grad(self, set_to_none=True):
            if self.count % 2 == 0:
                super().zero_grad(set_to_none)

        def step(self, closure=None):
            self.count += 1
            if self.count % 2 == 0:
                return super().step(closure)

    model = mlp()
    optimizer = Skipping(model.parameters(), 0.05, momentum=0.9)
    trainer = Classifier(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, *loaders())
    trainer.extra = optimizer.count
    return trainer


@port
def large_batches_split_within_train_step():
    """``train_step`` runs the backward passes of all parts but the last, which it leaves to the trainer."""

    class Splitting(Classifier):
        def train_step(self, batch):
            parts = list(zip(*(v.split(4) for v in batch)))
            losses = [F.cross_entropy(self.model(x), y) * len(x) / len(batch[0]) for x, y in parts]
            for loss in losses[:-1] if self.mode == "train" else ():
                loss.backward()
            return {"loss": losses[-1], "total": sum(loss.detach() for loss in losses)}

        test_step = train_step

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Splitting(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=0.5, log_bar=False)
    trainer.run(2, *loaders(12))
    return trainer


@port
def gradients_summed_over_an_epoch_and_applied_in_the_metric():
    """Full-batch gradient descent: ``run_batch`` only adds gradients, ``metric_on_epoch_end`` steps."""

    class FullBatch(Classifier):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            self.model.train()
            loss = self.train_step(batch)["loss"]
            (loss * len(batch[0]) / len(self.loader.dataset)).backward()
            self.logging({"loss": loss})
            self.progress_checker.update_step()

        def metric_on_epoch_end(self):
            if self.mode == "test":
                return {}
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            return {"norm": norm.item()}

    model = mlp()
    optimizer = torch.optim.Rprop(model.parameters(), 0.01)
    trainer = FullBatch(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(4, *loaders())
    return trainer
