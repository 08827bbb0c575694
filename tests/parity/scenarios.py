"""Trainers as people have written them for zae-engine 0.7.6, each played on both packages.

Every scenario is a function that builds a trainer, uses it, and returns it. Only names that 0.7.6 has are used. The
trainers keep a ``trace`` of hook calls with the mode and learning rate at each, and of every loss.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer import Trainer
from zae_engine.trainer._trainer import Trainer as _SameTrainer  # the path that add-ons of 0.7.6 import from

assert _SameTrainer is Trainer

SCENARIOS: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENARIOS[function.__name__] = function
    return function


# Parts


class Traced(Trainer):
    """A classifier whose hooks leave a trace."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.trace: list[Any] = []
        super().__init__(*args, **kwargs)

    def note(self, name: str, *values: Any) -> None:
        lr = self.optimizer.param_groups[0]["lr"] if self.optimizer else None
        self.trace.append((name, self.mode, lr, *values))

    def train_step(self, batch):
        x, y = batch
        output = self.model(x)
        loss = F.cross_entropy(output, y)
        self.note("train_step", loss.item(), self.model.training, torch.is_grad_enabled())
        return {"loss": loss, "acc": (output.argmax(1) == y).float().mean(), "output": output.argmax(1)}

    def test_step(self, batch):
        x, y = batch
        output = self.model(x)
        loss = F.cross_entropy(output, y)
        self.note("test_step", loss.item(), self.model.training, torch.is_grad_enabled())
        return {"loss": loss, "output": output.argmax(1)}

    def metric_on_epoch_end(self):
        log = self.log_train if self.mode == "train" else self.log_test
        self.note("metric_on_epoch_end", len(log["loss"]), self.model.training)
        return {"n": float(len(log["loss"])), "last": float(log["loss"][-1])}

    def logging(self, step_dict):
        self.note("logging", float(step_dict["loss"]), self.progress_checker.get_step())
        super().logging(step_dict)

    def log_reset(self, *args, **kwargs):
        self.note("log_reset", len(self.log_train), len(self.log_test))
        super().log_reset(*args, **kwargs)

    def toggle(self, mode=None):
        self.note("toggle", mode)
        super().toggle(mode)

    def check_better(self, cur_epoch, cur_loss):
        better = super().check_better(cur_epoch, cur_loss)
        self.note("check_better", cur_epoch, cur_loss, better, len(self.log_test))
        return better


def data(n: int = 50, seed: int = 1) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


def loaders(batch_size: int = 8, **kwargs: Any) -> tuple[DataLoader, DataLoader]:
    return DataLoader(data(), batch_size, shuffle=True, **kwargs), DataLoader(data(20, 2), 2 * batch_size)


def net(*, norm: bool = False) -> nn.Module:
    middle = nn.BatchNorm1d(16) if norm else nn.Dropout(0.3)
    return nn.Sequential(nn.Linear(10, 16), middle, nn.ReLU(), nn.Linear(16, 2))


def constant(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def build(cls: type = Traced, model: nn.Module | None = None, optimizer: Any = None, scheduler: Any = None, **kwargs):
    model = model or net()
    optimizer = optimizer(model) if optimizer else torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = scheduler(optimizer) if scheduler else constant(optimizer)
    kwargs.setdefault("log_bar", False)
    return cls(model, torch.device("cpu"), kwargs.pop("mode", "train"), optimizer, scheduler, **kwargs)


# The plain run


@scenario
def training_only():
    trainer = build()
    trainer.run(3, loaders()[0])
    return trainer


@scenario
def training_and_validation():
    trainer = build(log_bar=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def batch_norm_and_clipping():
    trainer = build(
        model=net(norm=True), gradient_clip=0.1, optimizer=lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9)
    )
    trainer.run(3, *loaders())
    return trainer


@scenario
def worker_processes_with_random_augmentation():
    class Noisy(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            x = torch.randn(10)
            return x, (x.sum() > i * 0.01).long()

    trainer = build()
    trainer.run(2, DataLoader(Noisy(), 8, shuffle=True, num_workers=2), DataLoader(Noisy(), 8, num_workers=1))
    return trainer


@scenario
def persistent_workers_and_two_runs():
    trainer = build()
    loader = DataLoader(data(), 8, shuffle=True, num_workers=1, persistent_workers=True)
    trainer.run(1, loader)
    trainer.run(2, loader)
    return trainer


@scenario
def two_runs_in_a_row():
    trainer = build(scheduler=lambda o: CosineAnnealingScheduler(o, 20))
    train, valid = loaders()
    trainer.run(2, train, valid)
    trainer.run(3, train, valid)
    trainer.run(0, train)
    trainer.run(1, train)
    return trainer


@scenario
def two_trainers_on_one_model():
    first = build()
    first.run(2, *loaders())
    second = build(model=first.model)
    second.run(2, *loaders())
    return second


@scenario
def test_mode_without_optimizer():
    trainer = build(mode="test", model=net(norm=True))
    trainer.run(2, loaders()[1])
    return trainer


@scenario
def everything_in_one_life():
    trainer = build(log_bar=True)
    train, valid = loaders()
    trainer.run(1, train, valid)
    trainer.trace.append(trainer.inference(valid))
    trainer.run(1, train)
    trainer.toggle()
    trainer.run(1, valid)
    trainer.toggle("train")
    trainer.run_epoch(train)
    trainer.run_batch(next(iter(train)))
    trainer.run(1, train, valid)
    return trainer


@scenario
def standalone_epochs_and_batches():
    trainer = build()
    train, valid = loaders()
    trainer.run_epoch(train)
    trainer.run_epoch(train)
    trainer.toggle("test")
    trainer.run_epoch(valid)
    trainer.run_batch(next(iter(valid)))
    trainer.toggle("train")
    for batch in train:
        trainer.run_batch(batch)
    trainer.log_reset(epoch_end=True)
    trainer.run_epoch(train)
    return trainer


# Schedulers


@scenario
def chain_per_batch():
    def chain(optimizer):
        return SchedulerChain(WarmUpScheduler(optimizer, 7, 1e-4), CosineAnnealingScheduler(optimizer, 14, 1e-5))

    trainer = build(scheduler=chain, scheduler_step_on_batch=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def warm_up_per_epoch():
    trainer = build(scheduler=lambda o: WarmUpScheduler(o, 3, 1e-4))
    trainer.run(3, *loaders())
    return trainer


@scenario
def cosine_per_batch_with_none_batches():
    trainer = build(scheduler=lambda o: CosineAnnealingScheduler(o, 21), scheduler_step_on_batch=True)
    trainer.run(3, DataLoader(data(), 8, collate_fn=odd_batches_only()), loaders()[1])
    return trainer


@scenario
def step_lr_per_epoch():
    trainer = build(scheduler=lambda o: lr_scheduler.StepLR(o, 2, 0.5))
    trainer.run(4, *loaders())
    return trainer


@scenario
def one_cycle_per_batch():
    trainer = build(scheduler=lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30), scheduler_step_on_batch=True)
    trainer.run(3, *loaders())
    return trainer


@scenario
def sequential_schedulers_and_parameter_groups():
    def optimizer(model):
        return torch.optim.AdamW(
            [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}], lr=0.01
        )

    def scheduler(optimizer):
        parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 2), lr_scheduler.ExponentialLR(optimizer, 0.9)]
        return lr_scheduler.SequentialLR(optimizer, parts, [2])

    trainer = build(optimizer=optimizer, scheduler=scheduler)
    trainer.run(4, *loaders())
    return trainer


# Batches


@scenario
def dict_batches():
    class Dicts(Traced):
        def train_step(self, batch):
            assert type(batch) is dict
            return super().train_step((batch["x"], batch["y"]))

        def test_step(self, batch):
            return super().test_step((batch["x"], batch["y"]))

    samples = [{"x": x, "y": y, "name": str(i)} for i, (x, y) in enumerate(data())]
    trainer = build(Dicts)
    trainer.run(2, DataLoader(samples, 8, shuffle=True), DataLoader(samples, 16))
    return trainer


Item = namedtuple("Item", ["x", "y"])


@scenario
def namedtuple_batches():
    class Tuples(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__)
            return super().train_step(batch)

    trainer = build(Tuples)
    trainer.run(2, DataLoader([Item(x, y) for x, y in data()], 8, shuffle=True))
    return trainer


@scenario
def bare_tensor_batches_come_as_rows():
    class Rows(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__, len(batch))
            x = batch if isinstance(batch, torch.Tensor) else torch.stack(batch)
            return {"loss": F.mse_loss(self.model(x), x)}

        test_step = train_step

    model = nn.Linear(10, 10)
    samples = [x for x, _ in data(33)]
    trainer = build(Rows, model=model)
    trainer.run(2, DataLoader(samples, 8, shuffle=True), DataLoader(samples, 16))  # the last batch has one row
    return trainer


@scenario
def one_element_sequences_and_nested_batches():
    class Nested(Traced):
        def train_step(self, batch):
            self.note(type(batch).__name__)
            if isinstance(batch, torch.Tensor):
                return super().train_step((batch, (batch.sum(1) > 0).long()))
            pair, extra = batch
            self.note(type(pair).__name__, sorted(extra))
            return super().train_step(tuple(pair))

    trainer = build(Nested)
    trainer.run(1, DataLoader(TensorDataset(data().tensors[0]), 8, shuffle=True))
    trainer.run(1, DataLoader([((x, y), {"i": i}) for i, (x, y) in enumerate(data())], 8, shuffle=True))
    return trainer


def odd_batches_only() -> Callable[[list[Any]], Any]:
    seen = [0]

    def collate(samples):
        seen[0] += 1
        return torch.utils.data.default_collate(samples) if seen[0] % 2 else None

    return collate


@scenario
def none_batches_in_training_and_validation():
    trainer = build()
    trainer.run(
        2,
        DataLoader(data(), 8, shuffle=True, collate_fn=odd_batches_only()),
        DataLoader(data(), 8, collate_fn=odd_batches_only()),
    )
    return trainer


@scenario
def batch_sampler_and_drop_last():
    trainer = build()
    trainer.run(1, DataLoader(data(), batch_sampler=BatchSampler(RandomSampler(data()), 8, drop_last=True)))
    trainer.run(1, DataLoader(data(), 8, drop_last=True), DataLoader(data(), 7, drop_last=True))
    return trainer


@scenario
def sized_iterable_dataset_that_draws():
    class Stream(IterableDataset):
        def __len__(self):
            return 24

        def __iter__(self):
            for _ in range(24):
                x = torch.randn(10)
                yield x, (x.sum() > 0).long()

    trainer = build()
    trainer.run(2, DataLoader(Stream(), 8), DataLoader(Stream(), 8))
    return trainer


@scenario
def homemade_loader_that_shuffles_in_iter():
    class Loader:
        batch_size = 8
        dataset = data()

        def __len__(self):
            return 6

        def __iter__(self) -> Iterator[Any]:
            order = torch.randperm(len(self.dataset))  # drawn when iter() is called
            x, y = self.dataset.tensors
            return iter([(x[i], y[i]) for i in order.split(8)[:6]])

    trainer = build()
    trainer.run(2, Loader(), Loader())
    trainer.run(1, Loader())
    return trainer


# Steps and optimizers with habits


@scenario
def step_that_calls_backward_by_itself():
    class Auxiliary(Traced):
        def train_step(self, batch):
            (self.model[0].weight.square().mean() * 0.1).backward()
            return super().train_step(batch)

    trainer = build(Auxiliary)
    trainer.run(2, *loaders())
    return trainer


@scenario
def loss_of_shape_one_and_float_logs():
    class Shaped(Traced):
        def train_step(self, batch):
            loss = super().train_step(batch)["loss"].reshape(1)
            return {"loss": loss, "floats": 0.5 + float(loss), "ints": 3, "vector_output": torch.ones(3)}

    trainer = build(Shaped)
    trainer.run(2, loaders()[0])
    return trainer


class Plain(torch.optim.Optimizer):
    """Gradient descent whose ``step`` takes no closure."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})

    def step(self) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= group["lr"] * parameter.grad


@scenario
def optimizer_whose_step_takes_no_closure():
    trainer = build(optimizer=lambda m: Plain(m.parameters()), gradient_clip=0.5)
    trainer.run(2, *loaders())
    return trainer


@scenario
def optimizer_hooks_that_read_gradients():
    trainer = build()

    def before(optimizer, args, kwargs):
        trainer.note("before", [float(p.grad.norm()) for g in optimizer.param_groups for p in g["params"]])

    trainer.optimizer.register_step_pre_hook(before)
    trainer.run(2, loaders()[0])
    return trainer


@scenario
def frozen_part_whose_gradients_pile_up():
    # The optimizer holds the head only, so the other gradients are never cleared, and clipping counts them in.
    trainer = build(optimizer=lambda m: torch.optim.SGD(m[3].parameters(), 0.1), gradient_clip=0.3)
    trainer.run(2, *loaders())
    trainer.run(1, *loaders())
    return trainer


@scenario
def part_of_the_model_kept_in_eval_mode():
    class FrozenNorm(Traced):
        def train_step(self, batch):
            self.model[1].eval()
            return super().train_step(batch)

    trainer = build(FrozenNorm, model=net(norm=True))
    trainer.run(2, *loaders())
    return trainer


@scenario
def recurrent_model_with_penalty_in_double():
    class Penalised(Traced):
        def train_step(self, batch):
            x, y = batch
            x = x.double().requires_grad_()
            loss = F.cross_entropy(self.model(x), y)
            (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
            return {"loss": loss + gradient.square().sum(), "penalty": gradient.square().sum()}

    trainer = build(Penalised, model=nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 2)).double())
    trainer.run(2, loaders()[0])
    return trainer


@scenario
def metrics_that_draw_random_numbers():
    class Sampling(Traced):
        def metric_on_epoch_end(self):
            return {"sample": float(self.model(torch.randn(4, 10)).mean())}

    trainer = build(Sampling)
    trainer.run(3, *loaders())
    return trainer


@scenario
def metric_set_on_the_instance():
    trainer = build()
    trainer.metric_on_epoch_end = lambda: {
        "mean": sum(map(float, trainer.log_train["loss"] or trainer.log_test["loss"]))
    }
    trainer.run(2, *loaders())
    return trainer


# Overrides


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
