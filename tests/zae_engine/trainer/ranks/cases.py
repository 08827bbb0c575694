"""Runs that come out alike in one process and in several: ``cases.py FILE``, under torchrun or alone.

Alone, a loader has batches of ``2 * b`` where each of two ranks has batches of ``b``.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler, TensorDataset, WeightedRandomSampler

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon

ALONE = "RANK" not in os.environ
CASES: dict[str, Any] = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Classifier(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch):
        x, y, index = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean(), "output": index}

    def test_step(self, batch):
        return self.train_step(batch)

    def metric_on_epoch_end(self):
        log = self.log_train if self.mode == "train" else self.log_test
        return {"seen": float(sum(len(v) for v in log["output"]))}


def dataset(n: int = 37) -> TensorDataset:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long(), torch.arange(n))


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def size(b: int) -> int:
    return 2 * b if ALONE else b


def trainer_of(cls=Classifier, net=None, optimizer=torch.optim.SGD, lr=0.1, **kwargs):
    net = net or model()
    made = optimizer(net.parameters(), lr=lr)
    if callable(kwargs.get("scheduler")):
        kwargs["scheduler"] = kwargs["scheduler"](made)
    return cls(net, "cpu", optimizer=made, log_bar=False, **kwargs)


def run(trainer, loader=None, valid_loader=None, n_epoch=2, **kwargs):
    loader = loader if loader is not None else DataLoader(dataset(), size(4), shuffle=True)
    trainer.run(n_epoch, loader, valid_loader, **kwargs)
    return trainer


@case
def sgd():
    return run(trainer_of())


@case
def adam():
    return run(trainer_of(optimizer=torch.optim.Adam, lr=0.01))


@case
def a_rest_that_not_every_rank_gets_a_batch_of():
    return run(trainer_of(), DataLoader(dataset(34), size(4), shuffle=True))  # 34 = 4 * 8 + 2


@case
def a_rest_of_one_sample():
    return run(trainer_of(), DataLoader(dataset(33), size(4), shuffle=True))


@case
def a_rest_that_is_dropped():
    return run(trainer_of(), DataLoader(dataset(), size(4), shuffle=True, drop_last=True))


@case
def no_shuffling():
    return run(trainer_of(), DataLoader(dataset(), size(4)))


@case
def a_generator_of_the_loaders_own():
    return run(trainer_of(), DataLoader(dataset(), size(4), shuffle=True, generator=torch.Generator().manual_seed(5)))


@case
def a_weighted_sampler():
    data = dataset()
    return run(trainer_of(), DataLoader(data, size(4), sampler=WeightedRandomSampler(torch.arange(37.0) + 1, 37)))


class Backwards(Sampler):
    def __iter__(self):
        return iter(range(36, -1, -1))

    def __len__(self):
        return 37


@case
def a_sampler_of_ones_own():
    return run(trainer_of(), DataLoader(dataset(), size(4), sampler=Backwards()))


@case
def a_batch_sampler():
    return run(trainer_of(), DataLoader(dataset(), batch_sampler=BatchSampler(Backwards(), size(4), False)))


@case
def worker_processes():
    return run(trainer_of(), DataLoader(dataset(), size(4), shuffle=True, num_workers=2, persistent_workers=True))


def as_dict(rows):
    return {"x": torch.stack([r[0] for r in rows]), "y": torch.stack([r[1] for r in rows]), "n": len(rows)}


class OnDicts(Classifier):
    def train_step(self, batch):
        output = self.model(batch["x"])
        return {"loss": F.cross_entropy(output, batch["y"]), "output": batch["y"]}


@case
def a_collate_function():
    return run(trainer_of(OnDicts), DataLoader(dataset(), size(4), shuffle=True, collate_fn=as_dict))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(list(dataset(36)))


@case
def an_iterable_dataset():
    return run(trainer_of(), DataLoader(Stream(), size(4)))


@case
def a_list_of_batches():
    x, y, index = dataset(36).tensors
    rows = [slice(start, start + size(4)) for start in range(0, 36, size(4))]
    return run(trainer_of(), [[x[part], y[part], index[part]] for part in rows])


@case
def a_validation_with_a_rest():
    return run(trainer_of(), valid_loader=DataLoader(dataset(31), 7))


@case
def a_validation_of_one_batch():
    return run(trainer_of(), valid_loader=DataLoader(dataset(5), 7))


@case
def validation_with_batch_norm_buffers():
    class Frozen(Classifier):
        def train_step(self, batch):
            self.model[1].eval()  # so that one process and two compute the same
            return super().train_step(batch)

    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    return run(trainer_of(Frozen, net), valid_loader=DataLoader(dataset(31), 7))


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


class WithHead(Classifier):
    def train_step(self, batch):
        x, y, index = batch
        return {"loss": F.cross_entropy(self.parts["head"](self.model(x)), y), "output": index}


def with_head(cls=WithHead):
    trainer = trainer_of(cls, nn.Linear(6, 4))
    trainer.parts = {"head": nn.Linear(4, 2)}
    trainer.optimizer.add_param_group({"params": trainer.parts["head"].parameters()})
    return trainer


@case
def a_trained_module_beside_the_model():
    return run(with_head())


class Unfreezes(Classifier):
    def train_step(self, batch):
        self.model[0].requires_grad_(self.progress_checker.get_epoch() > 1)
        return super().train_step(batch)


@case
def layers_that_are_trained_later():
    trainer = trainer_of(Unfreezes)
    trainer.model[0].requires_grad_(False)
    return run(trainer, n_epoch=3)


def none_for_small(rows):
    kept = [row for row in rows if row[2] not in range(0, 8)]
    return torch.utils.data.default_collate(kept) if kept else None


@case
def batches_that_are_none():
    return run(
        trainer_of(optimizer=torch.optim.Adam, lr=0.01), DataLoader(dataset(32), size(4), collate_fn=none_for_small)
    )


def none_on_one_rank(rows):
    kept = [row for row in rows if row[2] not in (0, 1, 2, 3, 20, 21, 22, 23)]
    return torch.utils.data.default_collate(kept) if kept else None


@case
def batches_that_are_none_on_one_rank():
    return run(trainer_of(), DataLoader(dataset(32), size(4), collate_fn=none_on_one_rank))


@case
def a_validation_that_drops_its_last():
    return run(trainer_of(), valid_loader=DataLoader(dataset(8), 7, drop_last=True))


class Wrapped:
    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)

    def __len__(self):
        return len(self.loader)


@case
def a_wrapped_loader():
    return run(trainer_of(), Wrapped(DataLoader(dataset(36), size(4), shuffle=True)), n_epoch=3)


@case
def a_plateau_scheduler_by_batches():
    make = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)  # noqa: E731
    return run(trainer_of(scheduler=make, scheduler_step_on_batch=True))


class Counts(Classifier):
    def train_step(self, batch):
        return {
            **super().train_step(batch),
            "n": len(batch[0]),
            "correct": (batch[1] == 1).sum(),
            "pair": (batch[1], 1.0),
        }


@case
def counts_and_tuples_in_the_log():
    return run(trainer_of(Counts))


@case
def a_second_trainer_with_other_weights():
    run(trainer_of())
    torch.manual_seed(11 + int(os.environ.get("RANK", 0)))
    trainer = with_head()
    torch.manual_seed(5)
    return run(trainer)


class Evaluates(Classifier):
    def metric_on_epoch_end(self):
        if self.mode == "train":
            log = {key: list(values) for key, values in self.log_train.items()}
            self.outputs = torch.cat(self.inference(DataLoader(dataset(31), 7))).tolist()
            self.log_train.update(log)
        return {}


@case
def an_inference_at_the_end_of_an_epoch():
    return run(trainer_of(Evaluates))


def observe(trainer) -> dict[str, Any]:
    lightning = trainer.lightning_trainer
    return {
        "weights": dict(trainer.model.state_dict()),
        "best weights": trainer.weight_buffer.get("weight"),
        "optimizer": trainer.optimizer.state_dict()["state"],
        "rates": [group["lr"] for group in trainer.optimizer.param_groups],
        "log_train": dict(trainer.log_train),
        "log_test": dict(trainer.log_test),
        "losses": [trainer.get_loss_history("train"), trainer.get_loss_history("test")],
        "metrics": [trainer.train_metrics, trainer.test_metrics],
        "best": [trainer.loss_buffer, trainer.weight_buffer.get("epoch")],
        "epoch": trainer.progress_checker.get_epoch(),
        "steps": None if lightning is None or trainer.mode == "test" else lightning.global_step,
        "outputs": getattr(trainer, "outputs", None),
        "random": torch.rand(3),
        "mode": trainer.mode,
    }


def main(file: str) -> None:
    torch.set_num_threads(1)
    results = {}
    for name, function in CASES.items():
        torch.manual_seed(3)
        print(name, file=sys.stderr)
        try:
            results[name] = observe(function())
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    torch.save(results, Path(f"{file}.{os.environ.get('RANK', 'alone')}"))


if __name__ == "__main__":
    main(sys.argv[1])
