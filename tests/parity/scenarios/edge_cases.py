"""Objects replaced or switched in mid-run, and things that only look like torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from .parts import Traced, build, constant, data, loaders, scenario


@scenario
def optimizer_and_scheduler_replaced_between_epochs_and_batches():
    class Switching(Traced):
        def check_better(self, cur_epoch, cur_loss):
            if cur_epoch == 1:
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
                self.scheduler = lr_scheduler.StepLR(self.optimizer, 1, 0.9)
            return super().check_better(cur_epoch, cur_loss)

        def logging(self, step_dict):
            super().logging(step_dict)
            if self.progress_checker.get_step() == 4:
                self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=0.02)
                self.scheduler = lr_scheduler.StepLR(self.optimizer, 1, 0.7)

    class SwitchingBatches(Switching):
        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)

    for cls in (Switching, SwitchingBatches):
        for per_batch in (False, True):
            trainer = build(cls, scheduler=lambda o: lr_scheduler.StepLR(o, 1, 0.5), scheduler_step_on_batch=per_batch)
            trainer.run(4, *loaders())
    return trainer


@scenario
def optimizers_that_take_turns():
    class Alternating(Traced):
        def run_batch(self, batch, **kwargs):
            if self.mode == "train":
                self.turn = not getattr(self, "turn", False)
                self.optimizer = self.both[self.turn]
            super().run_batch(batch, **kwargs)

    trainer = build(Alternating, gradient_clip=0.5)
    trainer.both = [trainer.optimizer, torch.optim.SGD(trainer.model.parameters(), lr=0.2, momentum=0.9)]
    trainer.run(3, *loaders())
    trainer.both[0] = Lookahead(trainer.both[0])
    trainer.run(2, *loaders())
    trainer.optimizer = trainer.both[1]
    return trainer


@scenario
def optimizer_rolled_back_within_its_batch():
    class Rolling(Traced):
        saved: Any = None

        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)
            if self.mode == "train" and self.progress_checker.get_step() == 5:
                self.saved = torch.load(self.dump(), weights_only=True)
            if self.mode == "train" and self.progress_checker.get_step() == 9:
                self.optimizer.load_state_dict(self.saved)
                self.optimizer.param_groups[0]["lr"] = 0.05
                self.optimizer.zero_grad()
                self.train_step(self._to_device(*batch))["loss"].backward()
                self.optimizer.step()

        def dump(self):
            import io

            file = io.BytesIO()
            torch.save(self.optimizer.state_dict(), file)
            file.seek(0)
            return file

    trainer = build(Rolling)
    trainer.run(3, *loaders())
    return trainer


@scenario
def optimizer_with_a_closure_called_twice():
    class Sam(torch.optim.SGD):
        def step(self, closure=None):
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.add_(p.grad, alpha=0.05)
            with torch.enable_grad():
                closure()
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad, alpha=0.05)
            super().step()

    class Sharp(Traced):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            batch = self._to_device(*batch)

            def closure():
                self.optimizer.zero_grad()
                step = self.train_step(batch)
                step["loss"].backward()
                return step

            step = closure()
            self.optimizer.step(closure)
            self.logging(step)
            self.progress_checker.update_step()

    trainer = build(Sharp, optimizer=lambda m: Sam(m.parameters(), 0.1))
    trainer.run(2, *loaders())
    return trainer


@scenario
def mode_switched_in_the_middle_of_an_epoch():
    class Switching(Traced):
        def logging(self, step_dict):
            super().logging(step_dict)
            if self.progress_checker.get_step() in (3, 20):
                self.mode = "test" if self.mode == "train" else "train"

    trainer = build(Switching)
    trainer.run_epoch(loaders()[0])
    trainer.mode = "test"
    trainer.run_epoch(loaders(4)[1])
    trainer.run_epoch(loaders(4)[1])
    return trainer


@scenario
def stop_iteration_from_a_hook_reaches_the_caller():
    class Stopping(Traced):
        where = ""

        def check_better(self, cur_epoch, cur_loss):
            if self.where == "check_better" and cur_epoch:
                raise StopIteration("early")
            return super().check_better(cur_epoch, cur_loss)

        def logging(self, step_dict):
            super().logging(step_dict)
            if self.where == self.mode and self.progress_checker.get_step() > 20:
                raise StopIteration("early")

    for where in ("check_better", "train", "test"):
        trainer = build(Stopping)
        trainer.where = where
        try:
            trainer.run(4, *loaders())
        except StopIteration as error:
            trainer.mode = "train"  # 0.7.6 leaves it in test mode
            trainer.note(str(error))
    return trainer


@scenario
def run_epoch_that_changes_the_loader():
    class Changing(Traced):
        def run_epoch(self, loader, **kwargs):
            self.loader = DataLoader(data(16), 4)
            super().run_epoch(loader, **kwargs)

    trainer = build(Changing)
    trainer.run(2, *loaders())
    return trainer


@scenario
def gradients_within_metrics_and_test_batches():
    class Calibrating(Traced):
        def metric_on_epoch_end(self):
            self.note("grad", torch.is_grad_enabled())
            temperature = torch.ones((), requires_grad=True)
            (temperature * float(self.model[0].weight.sum())).backward()
            return {"slope": float(temperature.grad)}

        def check_better(self, cur_epoch, cur_loss):
            self.note("grad", torch.is_grad_enabled())
            return super().check_better(cur_epoch, cur_loss)

        def logging(self, step_dict):
            super().logging(step_dict)
            self.note("grad", torch.is_grad_enabled())

    class Differentiating(torch.utils.data.Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, i):
            x = torch.full((10,), 0.1 * i, requires_grad=True)
            (gradient,) = torch.autograd.grad(x.sin().sum(), x)
            return gradient, i % 2

    trainer = build(Calibrating)
    trainer.run(2, DataLoader(Differentiating(), 8), DataLoader(Differentiating(), 8))
    trainer.inference(DataLoader(Differentiating(), 8))
    return trainer


@scenario
def attack_on_test_batches():
    class Attacking(Traced):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                x, y = batch
                x = x.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(F.cross_entropy(self.model(x), y), x)
                batch = (x + gradient.sign() * 0.1).detach(), y
            super().run_batch(batch, **kwargs)

    trainer = build(Attacking)
    trainer.run(2, *loaders())
    trainer.inference(loaders()[1])
    return trainer


@scenario
def head_beside_a_frozen_model():
    class Probe(Traced):
        def train_step(self, batch):
            x, y = batch
            with torch.no_grad():
                features = self.model(x)
            loss = F.cross_entropy(self.head(features), y)
            self.note("loss", loss.item())
            return {"loss": loss}

        def test_step(self, batch):
            x, y = batch
            return {"loss": F.cross_entropy(self.head(self.model(x)), y)}

    head = nn.Linear(2, 2)
    trainer = build(Probe, optimizer=lambda m: torch.optim.SGD(head.parameters(), 0.1))
    trainer.head = head
    trainer.run(2, *loaders())
    return trainer


class Lookahead:
    """An optimizer that only has an optimizer's methods."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self.base, self.count = base, 0

    def __getattr__(self, name: str) -> Any:
        if name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def zero_grad(self):
        self.base.zero_grad()

    def step(self):
        self.count += 1
        self.base.step()


@scenario
def optimizer_and_scheduler_that_only_look_like_torchs():
    class Noam:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer, self.n = optimizer, 0

        def step(self):
            self.n += 1
            for group in self.optimizer.param_groups:
                group["lr"] = 0.1 / self.n

    trainer = build(optimizer=lambda m: Lookahead(torch.optim.SGD(m.parameters(), 0.1)), scheduler=Noam)
    trainer.run(2, *loaders())
    trainer.note("count", trainer.optimizer.count)
    trainer.optimizer = trainer.optimizer.base
    trainer.run(2, *loaders())
    return trainer


@scenario
def scheduler_on_the_base_of_a_wrapping_optimizer():
    trainer = build(
        optimizer=lambda m: Lookahead(torch.optim.SGD(m.parameters(), 0.1)), scheduler=lambda o: constant(o.base)
    )
    trainer.run(2, *loaders())
    return trainer


@scenario
def model_whose_state_dict_is_its_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(10, 2))

        def state_dict(self, *args, **kwargs):
            return self._parameters

        def forward(self, x):
            return x @ self.w

    trainer = build(model=Own())
    trainer.run(3, loaders()[0])
    return trainer


@scenario
def anomaly_detection_stays_on():
    class Watching(Traced):
        def train_step(self, batch):
            self.note("anomaly", torch.is_anomaly_enabled())
            return super().train_step(batch)

    trainer = build(Watching)
    with torch.autograd.set_detect_anomaly(True):
        trainer.run(1, loaders()[0])
    trainer.note("anomaly", torch.is_anomaly_enabled())
    return trainer


@scenario
def test_steps_that_give_what_only_their_logging_knows():
    class Tensors(Traced):
        def test_step(self, batch):
            return self.model(batch[0]).mean()

        def logging(self, step_dict):
            super().logging(step_dict if self.mode == "train" else {"loss": step_dict})

    trainer = build(Tensors)
    trainer.run(2, *loaders())
    trainer.inference(loaders()[1])
    return trainer
