"""Overridden methods and add-ons."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from zae_engine.schedulers import CosineAnnealingScheduler

from .parts import Traced, build, data, loaders, odd_batches_only, scenario


@scenario
def run_batch_overridden_with_super():
    class Batchwise(Traced):
        def run_batch(self, batch, **kwargs):
            self.note("run_batch")
            super().run_batch(batch, **kwargs)
            self.note("after")

    trainer = build(
        Batchwise, gradient_clip=0.2, scheduler=lambda o: CosineAnnealingScheduler(o, 50), scheduler_step_on_batch=True
    )
    train, valid = loaders()
    trainer.run(2, train, valid)
    trainer.run(1, train, valid)
    trainer.inference(valid)
    trainer.run_batch(next(iter(train)))
    return trainer


@scenario
def run_batch_written_anew():
    class Own(Traced):
        def run_batch(self, batch, **kwargs):
            batch = self._to_device(*batch)
            if self.mode == "train":
                self.model.train()
                for _ in range(2):
                    self.optimizer.zero_grad()
                    step = self.train_step(batch)
                    step["loss"].backward()
                    self.optimizer.step()
            else:
                self.model.eval()
                with torch.no_grad():
                    step = self.test_step(batch)
            self.logging(step)
            self.progress_checker.update_step()

    trainer = build(Own)
    trainer.run(2, *loaders())
    return trainer


@scenario
def adversarial_pair_with_two_optimizers():
    class Gan(Traced):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.critic = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))
            self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=0.01)

        def run_batch(self, batch, **kwargs):
            x, _ = self._to_device(*batch)
            if self.mode != "train":
                return super().run_batch(batch, **kwargs)
            fake = self.model(torch.randn(len(x), 4))
            self.critic_optimizer.zero_grad()
            critic_loss = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake.detach())).mean()
            critic_loss.backward()
            self.critic_optimizer.step()
            self.optimizer.zero_grad()
            loss = F.softplus(-self.critic(fake)).mean()
            loss.backward()
            self.optimizer.step()
            self.logging({"loss": loss, "critic": critic_loss})
            self.progress_checker.update_step()

        def test_step(self, batch):
            return {"loss": self.critic(self.model(torch.randn(5, 4))).mean()}

    trainer = build(Gan, model=nn.Linear(4, 10))
    trainer.run(3, *loaders())
    trainer.trace.append(trainer.critic.state_dict())
    return trainer


@scenario
def run_epoch_overridden_with_super():
    class Epochwise(Traced):
        def run_epoch(self, loader, **kwargs):
            self.note("run_epoch", len(loader))
            super().run_epoch(loader, **kwargs)
            self.note("after")

    trainer = build(Epochwise)
    train, valid = loaders()
    trainer.run(2, train, valid)
    trainer.run(2, train)
    return trainer


@scenario
def run_epoch_written_anew():
    class Own(Traced):
        def run_epoch(self, loader, **kwargs):
            self.log_reset()
            for batch in loader:
                self.run_batch(batch, **kwargs)
            target = self.train_metrics if self.mode == "train" else self.test_metrics
            target.update(self.metric_on_epoch_end())

    trainer = build(Own)
    trainer.run(3, *loaders())
    return trainer


class Doubling:
    """An add-on of the kind that 0.7.6 documents: a subclass with its own keyword."""

    @classmethod
    def apply(cls, base_cls):
        class DoublingTrainer(base_cls):
            def __init__(self, *args, factor=2.0, **kwargs):
                super().__init__(*args, **kwargs)
                self.factor = factor

            def train_step(self, batch):
                step = super().train_step(batch)
                step["loss"] = step["loss"] * self.factor
                return step

            def logging(self, step_dict):
                super().logging({**step_dict, "factor": self.factor})

        return DoublingTrainer


class Counting:
    @classmethod
    def apply(cls, base_cls):
        class CountingTrainer(base_cls):
            count = 0

            def run_batch(self, batch, **kwargs):
                self.count += 1
                super().run_batch(batch, **kwargs)

            def run_epoch(self, loader, **kwargs):
                super().run_epoch(loader, **kwargs)
                self.note("count", self.count)

        return CountingTrainer


@scenario
def add_ons_in_one_order():
    trainer = build(Traced.add_on(Doubling, Counting), factor=3.0)
    trainer.run(2, *loaders())
    return trainer


@scenario
def add_ons_in_the_other_order():
    trainer = build(Traced.add_on(Counting, Doubling), factor=3.0)
    trainer.run(2, *loaders())
    return trainer


@scenario
def inference_within_the_run():
    class Curious(Traced):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            self.trace.append(self.inference(DataLoader(data(12, 3), 4)))
            return better

    trainer = build(Curious)
    trainer.run(3, *loaders())
    return trainer


@scenario
def sampling_loop_of_batches_within_metrics():
    class Diffusing(Traced):
        def metric_on_epoch_end(self):
            if self.mode == "train":
                return {}
            x = torch.randn(4, 10)
            for _ in range(3):
                self.run_batch((x, torch.zeros(4, dtype=torch.long)))
                x = x + 0.1 * self.log_test["output"][-1].float()[:, None]
            return {"sampled": float(x.sum())}

    trainer = build(Diffusing)
    trainer.run(2, *loaders())
    return trainer


@scenario
def an_exception_and_another_run():
    class Failing(Traced):
        failed = False

        def train_step(self, batch):
            if not self.failed and self.progress_checker.get_step() == 5:
                self.failed = True
                raise RuntimeError("a failing step")
            return super().train_step(batch)

    trainer = build(Failing)
    train, valid = loaders()
    try:
        trainer.run(2, train, valid)
    except RuntimeError as error:
        trainer.note(str(error))
    trainer.run(2, train, valid)
    return trainer


@scenario
def arguments_of_run_reach_the_batches():
    class Wanting(Traced):
        def run_batch(self, batch, **kwargs):
            self.note("kwargs", sorted(kwargs))
            super().run_batch(batch)

    trainer = build(Wanting, scheduler_step_on_batch=True)
    trainer.run(1, *loaders(), flavour="plain")
    return trainer


@scenario
def own_print_log_that_counts():
    class Printing(Traced):
        def print_log(self, cur_batch, num_batch):
            self.note("print_log", cur_batch, num_batch)
            return super().print_log(cur_batch=cur_batch, num_batch=num_batch)

    trainer = build(Printing)
    trainer.run(2, DataLoader(data(), 8, collate_fn=odd_batches_only()), loaders()[1])
    return trainer
