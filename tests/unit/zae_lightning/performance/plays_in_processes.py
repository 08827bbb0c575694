"""A program for two processes: it plays runs in the fast loops and in Lightning's, and writes what differs."""

from __future__ import annotations

import functools
import sys
import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zae_lightning.performance import evaluation_loop, training_loop

from tests.conftest import Classifier
from tests.unit.zae_lightning.performance.recording import HOOKS, recorder
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon

ALL_BUT_ONE = tuple(hook for hook in HOOKS if hook != "on_before_zero_grad")
"""For that one hook Lightning's loops run most batches."""


class Distributed(Classifier.add_on(MultiGPUAddon)):
    pass


class OwnBatch(Distributed):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Mixed(Classifier.add_on(MultiGPUAddon, PrecisionMixerAddon)):
    pass


class Loops(Callback):
    """Notes for each batch whether the fast loop runs it."""

    def __init__(self):
        self.is_fast = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.is_fast.append(trainer.fit_loop.epoch_loop._plan is not None)

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        self.is_fast.append(trainer.fit_loop.epoch_loop.val_loop._plan is not None)


class ReplacesAMethod(Callback):
    """Replaces a method of the strategy after the first batch, and counts its calls."""

    def __init__(self):
        self.calls = 0

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 1 and "backward" not in vars(trainer.strategy):
            trainer.strategy.backward = functools.partial(self.backward, trainer.strategy.backward)

    def backward(self, original, *args, **kwargs):
        self.calls += 1
        return original(*args, **kwargs)


class FewIterations(torch.optim.LBFGS):
    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1, max_iter=2)


step_lr = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1)

CASES = {
    "all hooks": {"hooks": HOOKS},
    "most hooks": {},
    "own run_batch": {"cls": OwnBatch},
    "clipping, scheduler per batch": {"gradient_clip": 0.1, "scheduler": step_lr, "scheduler_step_on_batch": True},
    "validation within the epoch": {"lightning": {"val_check_interval": 1}},
    "accumulation": {"lightning": {"accumulate_grad_batches": 2}},
    "bf16": {"cls": Mixed, "precision": "bf16"},
    "LBFGS": {"optimizer": FewIterations},
    "DDP by name": {"lightning": {"strategy": "ddp_find_unused_parameters_true"}},
}


def play(callbacks=(), cls=Distributed, hooks=ALL_BUT_ONE, optimizer=None, scheduler=None, **kwargs):
    """Return what a run leaves: the hooks' events, the weights, the history, the counts, which loops ran."""
    torch.manual_seed(0)
    x = torch.randn(24, 10)
    dataset, model, record, loops = TensorDataset(x, (x.sum(1) > 0).long()), nn.Linear(10, 2), recorder(*hooks), Loops()
    optimizer = optimizer(model.parameters()) if optimizer else torch.optim.SGD(model.parameters(), 0.1)
    scheduler = scheduler(optimizer) if scheduler else None
    callbacks = [record, loops, *callbacks]
    trainer = cls(
        model, ["cpu", "cpu"], optimizer=optimizer, scheduler=scheduler, callbacks=callbacks, log_bar=False, **kwargs
    )
    trainer.run(2, DataLoader(dataset, 4, shuffle=True), DataLoader(dataset, 9))
    weights = {key: value.tolist() for key, value in trainer.model.state_dict().items()}
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in trainer.history]
    return record.events, weights, rows, dict(trainer._zae_state.records.lightning_progress), loops.is_fast


def compare(case):
    """Return whether the loops that ran were those expected, and whether both left the same."""
    *fast, is_fast = play(**CASES[case])
    with pytest.MonkeyPatch.context() as patch:
        for module in (training_loop, evaluation_loop):
            patch.setattr(module, "plan_for", lambda trainer: None)
        *slow, is_slow = play(**CASES[case])
    hooks = [[event[0] for event in run[0]] for run in (fast, slow)]
    return {"fast": is_fast, "slow": is_slow, "hooks": hooks[0] == hooks[1], "same": fast == slow, "n": len(hooks[0])}


def main():
    """Play all cases, and write the results of this rank to the file that the argument names."""
    warnings.filterwarnings("ignore")
    results = {case: compare(case) for case in CASES}
    replaces = ReplacesAMethod()
    *_, is_fast = play([replaces])
    results["replaced"] = {"fast": is_fast, "calls": replaces.calls}
    torch.save(results, f"{sys.argv[1]}.{torch.distributed.get_rank()}")


if __name__ == "__main__":
    main()
