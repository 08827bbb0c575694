"""What a step must not do: wait for a device, copy from it, or keep what nobody asked to keep."""

import gc
import weakref
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.display import progress_display
from zae_engine.trainer.logs.value_buffer import CHUNK

WAITING = {"_local_scalar_dense", "_to_copy", "copy_", "item", "equal", "nonzero"}
STEPS = 60


class Counted(TorchDispatchMode):
    """Counts the operations of a run, from its first step to its last."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


class Counting(Trainer):
    """Counts what lies between the beginning of its first and of its last step."""

    def train_step(self, batch):
        x, y = batch
        if self.progress_checker.get_step() == 1:
            self.counted = Counted()
            self.counted.__enter__()
        elif self.progress_checker.get_step() == STEPS:
            self.counted.__exit__(None, None, None)
        output = self.model(x)
        loss = torch.nn.functional.cross_entropy(output, y)
        return {"loss": loss, "entropy": -(output.softmax(1) * output.log_softmax(1)).detach().sum(1).mean()}

    def test_step(self, batch):
        return self.train_step(batch)


class OwnBatches(Counting):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


def loader(steps=STEPS):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * steps, 3, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 4)


def trained(cls, **kwargs):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    trainer = cls(model, "cpu", "train", optimizer, scheduler, **{"log_bar": False, **kwargs})
    trainer.run(1, loader())
    return trainer


SETTINGS = [{}, {"log_bar": True}, {"gradient_clip": 1.0}, {"scheduler_step_on_batch": True}]
ACCUMULATING = {"lightning": {"accumulate_grad_batches": 2}}  # not where a trainer makes its steps by itself


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [*((cls, kwargs) for cls in (Counting, OwnBatches) for kwargs in SETTINGS), (Counting, ACCUMULATING)],
    ids=str,
)
def test_nothing_in_a_step_waits_for_a_device(cls, kwargs, monkeypatch):
    monkeypatch.setattr(progress_display, "REFRESH_SECONDS", 1e9)
    counts = trained(cls, **kwargs).counted.counts
    assert counts["addmm"] == STEPS - 1  # it has counted
    assert not WAITING & set(counts)


def test_a_state_manager_does_nothing_in_a_step(tmp_path):
    counts = trained(Counting.add_on(StateManagerAddon), save_path=tmp_path).counted.counts
    assert counts["addmm"] == STEPS - 1
    assert not WAITING & set(counts)


def test_a_bar_reads_its_values_when_it_is_drawn_and_only_the_new_ones(monkeypatch):
    monkeypatch.setattr(progress_display, "REFRESH_SECONDS", 0.0)
    counts = trained(Counting, log_bar=True).counted.counts
    assert not WAITING & set(counts)
    assert counts["stack"] <= 2 * STEPS + 2 * STEPS  # two for the batch, one for each mean


def tensors_alive():
    gc.collect()
    return [value for value in gc.get_objects() if type(value) is torch.Tensor]


def test_tensors_of_steps_long_ago_are_gone():
    of_others = tensors_alive()  # of fixtures, and of tests before this one
    ids = set(map(id, of_others))
    trainer = Classifier(
        model := torch.nn.Linear(3, 2), "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False
    )
    trainer.run(1, loader(4 * CHUNK))
    alive = [value for value in tensors_alive() if id(value) not in ids]
    assert len(alive) < 3 * CHUNK
    assert not any(value.grad_fn is not None for value in alive)
    assert len(trainer.log_train["loss"]) == len(trainer.get_loss_history()) == 4 * CHUNK


class Keeping(Trainer):
    """Returns its predictions as an output, and remembers weakly what went through it."""

    def train_step(self, batch):
        x, y = batch
        output = self.model(x)
        self.seen = [*getattr(self, "seen", []), weakref.ref(output), weakref.ref(x)]
        loss = torch.nn.functional.cross_entropy(output, y)
        return {"loss": loss, "output": output.detach().clone()}

    def test_step(self, batch):
        return self.train_step(batch)


@pytest.mark.parametrize("own", [False, True])
def test_batches_and_graphs_are_gone_after_a_run_and_outputs_after_the_next_epoch(own):
    cls = type("OwnKeeping", (Keeping,), {"run_batch": lambda self, batch: Trainer.run_batch(self, batch)})
    model = torch.nn.Linear(3, 2)
    trainer = (cls if own else Keeping)(
        model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False
    )
    trainer.run(1, loader(5))
    gc.collect()
    assert len(trainer.seen) == 10
    assert not any(reference() is not None for reference in trainer.seen)
    outputs = [weakref.ref(output) for output in trainer.log_train["output"]]
    assert len(outputs) == 5
    trainer.run(1, loader(3))
    gc.collect()
    assert not any(reference() is not None for reference in outputs)
    assert len(trainer.log_train["output"]) == 3
