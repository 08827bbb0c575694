"""Any sequence of calls leaves a trainer in the state that a small model of it says."""

from __future__ import annotations

import copy
import math
import shutil
import signal
import statistics
import tempfile
import warnings

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lightning.pytorch.callbacks import Callback

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon


class Counting(Trainer.add_on(StateManagerAddon)):
    """Every training step takes one from the weight, which is the loss."""

    stops_at, stops_by, is_nan = None, None, False

    def train_step(self, batch):
        if self.stops_at is not None:
            self.stops_at -= 1
            if self.stops_at < 0:
                raise self.stops_by
        return {"loss": self.model.weight.sum(), "n": 1}

    def test_step(self, batch):
        loss = self.model.weight.sum().detach()
        return {"loss": loss * math.nan if self.is_nan else loss, "output": loss}


class OwnBatches(Counting):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class OwnEpochs(Counting):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


class Counts(Callback):
    def __init__(self):
        self.batches = 0

    def on_train_batch_end(self, *_):
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


FEW = st.integers(0, 3)
BATCH = (torch.ones(2, 1),)


class Sequences(RuleBasedStateMachine):
    """The trainer, and beside it what must hold of it."""

    @initialize(cls=st.sampled_from([Counting, OwnBatches, OwnEpochs]), on_batch=st.booleans())
    def begin(self, cls, on_batch):
        warnings.simplefilter("ignore")
        self.folder = tempfile.mkdtemp()
        model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
        torch.nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        self.trainer = cls(
            model,
            "cpu",
            optimizer=optimizer,
            scheduler=scheduler,
            scheduler_step_on_batch=on_batch,
            save_path=self.folder,
            log_bar=False,
        )
        self.handler = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        self.on_batch = on_batch
        self.mode, self.updates, self.tested, self.epochs = "train", 0, 0, 0
        self.best, self.best_epoch, self.scheduled = math.inf, None, 0
        self.losses = {"train": [], "test": []}
        self.saved = None

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # What must hold

    MODEL = ("updates", "tested", "epochs", "best", "best_epoch", "scheduled", "losses")

    def kept(self):
        return copy.deepcopy({name: getattr(self, name) for name in self.MODEL})

    @invariant()
    def all_tell_of_the_same(self):
        if not hasattr(self, "trainer"):
            return
        trainer = self.trainer
        assert -trainer.model.weight.item() == self.updates
        assert trainer.mode == self.mode
        assert trainer.progress_checker.get_step() - 1 == self.updates + self.tested
        assert trainer.progress_checker.get_epoch() - 1 == self.epochs == len(trainer.history)
        for mode in ("train", "test"):
            told = trainer.history.steps(mode)
            assert len(told) == len(self.losses[mode])
            assert all(a == b or (a != a and b != b) for a, b in zip(told, self.losses[mode], strict=True))
        assert trainer.loss_buffer == self.best
        assert trainer.weight_buffer["epoch"] == ([] if self.best_epoch is None else [self.best_epoch])
        assert trainer.scheduler.last_epoch == self.scheduled
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == self.handler

    # What a call changes

    def trains(self, steps):
        losses = [-float(self.updates + i) for i in range(steps)]
        self.losses["train"] += losses
        self.updates += steps
        self.scheduled += steps if self.on_batch else 0
        return losses

    def tests(self, steps):
        losses = [math.nan if self.trainer.is_nan else -float(self.updates)] * steps
        self.losses["test"] += losses
        self.tested += steps
        return losses

    def ends_epoch(self, losses):
        loss = statistics.fmean(losses) if losses else math.nan
        if loss < self.best:
            self.best, self.best_epoch = loss, self.epochs
            self.epochs += 1
            self.scheduled += 0 if self.on_batch else 1
            self.saved = self.kept()
        else:
            self.epochs += 1
            self.scheduled += 0 if self.on_batch else 1

    @rule(epochs=FEW, batches=FEW, valid=FEW, is_nan=st.booleans())
    def run(self, epochs, batches, valid, is_nan):
        self.trainer.is_nan = is_nan
        self.trainer.run(epochs, [BATCH] * batches, [BATCH] * valid if valid else None)
        for _ in range(epochs):
            if self.mode == "train":
                train = self.trains(batches)
                self.ends_epoch(self.tests(valid) if valid else train)
            else:
                self.tests(batches + valid)

    @rule(batches=FEW)
    def run_epoch(self, batches):
        self.trainer.run_epoch([BATCH] * batches)
        (self.trains if self.mode == "train" else self.tests)(batches)

    @rule()
    def run_batch(self):
        self.trainer.run_batch(BATCH)
        (self.trains if self.mode == "train" else self.tests)(1)

    @rule()
    def toggle(self):
        self.trainer.toggle()
        self.mode = "test" if self.mode == "train" else "train"

    @rule(batches=FEW)
    def inference(self, batches):
        outputs = self.trainer.inference([BATCH] * batches)
        self.tests(batches)
        assert outputs == [-self.updates] * batches

    @precondition(lambda self: self.mode == "train")
    @rule(
        after=FEW, batches=st.integers(1, 3), by=st.sampled_from([KeyboardInterrupt, ZeroDivisionError, StopIteration])
    )
    def stopped(self, after, batches, by):
        self.trainer.stops_at, self.trainer.stops_by = after, by()
        try:
            self.trainer.run(5, [BATCH] * batches)
        except by:
            pass
        else:
            raise AssertionError("the run was not stopped")
        finally:
            self.trainer.stops_at = None
        while after:
            done = min(after, batches)
            losses = self.trains(done)
            after -= done
            if done == batches:
                self.ends_epoch(losses)

    @rule()
    def save(self):
        self.trainer.save_state()
        self.saved = self.kept()

    @rule()
    def load(self):
        if self.saved is None:
            try:
                self.trainer.load_state()
            except FileNotFoundError:
                return
            raise AssertionError("there was nothing to load")
        self.trainer.load_state()
        for name, value in copy.deepcopy(self.saved).items():
            setattr(self, name, value)

    @precondition(lambda self: not any(isinstance(callback, Counts) for callback in self.trainer.callbacks))
    @rule()
    def add_callback(self):
        self.trainer.callbacks.append(Counts())

    @rule()
    def copy(self):
        self.trainer = copy.deepcopy(self.trainer)


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    print_blob=False,
)
