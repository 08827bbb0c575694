"""Trainers that override this and that."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from zae_engine.trainer.addons import PrecisionMixerAddon

from .common import Classifier, case, dataset, model, run, size, trainer_of


@case
def a_scheduler_by_epochs():
    return run(trainer_of(scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5)))


@case
def a_scheduler_by_batches():
    make = lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)  # noqa: E731
    return run(trainer_of(scheduler=make, scheduler_step_on_batch=True))


@case
def a_plateau_scheduler():
    make = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)  # noqa: E731
    return run(trainer_of(scheduler=make), valid_loader=DataLoader(dataset(31), 7), n_epoch=4)


@case
def clipping():
    return run(trainer_of(gradient_clip=0.05))


@case
def a_second_run():
    return run(run(trainer_of(optimizer=torch.optim.Adam, lr=0.01)), valid_loader=DataLoader(dataset(31), 7))


class CallsSuper(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


@case
def an_overridden_run_batch():
    return run(trainer_of(CallsSuper, gradient_clip=0.05))


class ByItself(Classifier):
    def run_batch(self, batch, **kwargs):
        batch = self._to_device(*batch)
        if self.mode == "train":
            self.model.train()
            self.optimizer.zero_grad()
            step = self.train_step(batch)
            step["loss"].backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
            self.optimizer.step()
        else:
            self.model.eval()
            with torch.no_grad():
                step = self.test_step(batch)
        self.logging(step)
        self.progress_checker.update_step()


@case
def a_backward_of_ones_own():
    return run(trainer_of(ByItself), valid_loader=DataLoader(dataset(31), 7))


@case
def a_backward_of_ones_own_with_a_rest_of_one_sample():
    return run(trainer_of(ByItself), DataLoader(dataset(33), size(4), shuffle=True))


class TwoOptimizers(ByItself):
    """As GANs do: two modules, each with an optimizer, take turns; each backward reaches both."""

    def run_batch(self, batch, **kwargs):
        x, y, index = self._to_device(*batch)
        self.head_optimizer.zero_grad()
        F.cross_entropy(self.head(self.model(x)), y).backward()
        self.head_optimizer.step()
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.head(self.model(x)), y)
        loss.backward()
        self.optimizer.step()
        self.logging({"loss": loss, "output": index})
        self.progress_checker.update_step()


@case
def two_modules_with_an_optimizer_each():
    trainer = trainer_of(TwoOptimizers, nn.Linear(6, 4))
    trainer.head = nn.Linear(4, 2)
    trainer.head_optimizer = torch.optim.Adam(trainer.head.parameters(), lr=0.01)
    return run(trainer)


class Accumulates(ByItself):
    def run_batch(self, batch, **kwargs):
        x, y, index = self._to_device(*batch)
        step = self.train_step((x, y, index))
        step["loss"].backward()
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken % 2 == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.logging(step)


@case
def gradients_that_accumulate():
    return run(trainer_of(Accumulates), DataLoader(dataset(32), size(4), shuffle=True))


class OwnEpoch(Classifier):
    def run_epoch(self, loader, **kwargs):
        self.log_reset()
        for batch in loader:
            self.run_batch(batch, **kwargs)
        (self.train_metrics if self.mode == "train" else self.test_metrics).update(epochs=1.0)


@case
def an_overridden_run_epoch():
    return run(trainer_of(OwnEpoch), valid_loader=DataLoader(dataset(31), 7))


class EpochCallsSuper(Classifier):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


@case
def an_overridden_run_epoch_that_calls_super():
    return run(trainer_of(EpochCallsSuper), valid_loader=DataLoader(dataset(31), 7))


@case
def one_epoch_without_run():
    trainer = trainer_of()
    trainer.run_epoch(DataLoader(dataset(), size(4), shuffle=True))
    return trainer


@case
def only_testing():
    return run(trainer_of(mode="test"), DataLoader(dataset(31), 7))


@case
def inference():
    trainer = run(trainer_of())
    trainer.outputs = torch.cat(trainer.inference(DataLoader(dataset(31), 7))).tolist()
    return trainer


class DifferentKeys(Classifier):
    def train_step(self, batch):
        step = super().train_step(batch)
        if int(batch[2][0]) % 2:
            step["odd"] = step["loss"].detach()
        return {**step, "name": "x", "pair": [float(step["acc"])]}


@case
def steps_that_return_different_keys():
    trainer = run(trainer_of(DifferentKeys))
    for log in (trainer.log_train, trainer.log_test):
        for key in ("odd", "pair"):  # which batches are odd is not the same in one process
            log.pop(key, None)
    return trainer


@case
def no_gradient_to_some_parameters():
    net = model()
    net.register_parameter("idle", nn.Parameter(torch.ones(3)))
    return run(trainer_of(net=net, lightning={"strategy": "ddp_find_unused_parameters_true"}))


@case
def bf16():
    return run(trainer_of(Classifier.add_on(PrecisionMixerAddon), precision="bf16"))


@case
def means_over_samples():
    make = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.1)  # noqa: E731
    trainer = run(trainer_of(scheduler=make, epoch_means="samples"), valid_loader=DataLoader(dataset(31), 7))
    trainer.outputs = [{k: v for k, v in record.items() if k.startswith("t")} for record in trainer.history]
    return trainer
