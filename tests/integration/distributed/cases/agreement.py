"""What ranks have to agree on: other modules, batches that are None, other orders, counts."""

from __future__ import annotations

import os

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from .common import Classifier, case, dataset, run, size, trainer_of


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
