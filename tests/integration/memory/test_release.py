"""Deleting a trainer frees it, its model and its optimizer at once, with the garbage collector off."""

from __future__ import annotations

import contextlib
import gc
import signal
import weakref

import pytest
import torchmetrics
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon, StateManagerAddon


class OwnBatches(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class OwnEpochs(Classifier):
    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


class Failing(Classifier):
    error: type[BaseException] = ArithmeticError

    def train_step(self, batch):
        if self.progress_checker.get_step() > 2:
            raise self.error
        return super().train_step(batch)


class Stopping(Failing):
    error = StopIteration


class Interrupted(Classifier):
    def train_step(self, batch):
        if self.progress_checker.get_step() > 2:
            signal.raise_signal(signal.SIGINT)
        return super().train_step(batch)


class FailingTest(Classifier):
    def test_step(self, batch):
        raise ArithmeticError


def run(trainer, loader):
    trainer.run(2, loader, loader)


def run_without_predictions(trainer, loader):
    with pytest.warns(UserWarning, match='returned no "preds"'):
        run(trainer, loader)


def run_twice_and_look(trainer, loader):
    trainer.run(1, loader)
    trainer.run(1, loader, loader)
    assert trainer.lightning_trainer.lightning_module.model is trainer.model
    assert trainer.lightning_trainer.optimizers == [trainer.optimizer]
    assert list(trainer.log_train["loss"]) == []
    assert trainer.history[-1]["epoch"] == 2


SITUATIONS = {
    "before a run": (Classifier, {}, lambda trainer, loader: None),
    "a run with validation": (Classifier, {}, run),
    "two runs, and a look at Lightning's trainer": (Classifier, {}, run_twice_and_look),
    "an epoch by itself": (Classifier, {}, lambda trainer, loader: trainer.run_epoch(loader)),
    "a batch by itself": (Classifier, {}, lambda trainer, loader: trainer.run_batch(next(iter(loader)))),
    "inference": (Classifier, {}, lambda trainer, loader: trainer.inference(loader)),
    "inference after a run": (
        Classifier,
        {},
        lambda trainer, loader: (run(trainer, loader), trainer.inference(loader)),
    ),
    "an own run_batch": (OwnBatches, {}, run),
    "an own run_epoch": (OwnEpochs, {}, run),
    "an exception in training": (Failing, {}, run),
    "an exception in validation": (FailingTest, {}, run),
    "a StopIteration": (Stopping, {}, run),
    "Ctrl-C": (Interrupted, {}, run),
    "a bar, the picture and the table of a trainer": (
        Classifier,
        {"log_bar": True},
        lambda trainer, loader: (run(trainer, loader), repr(trainer), trainer._repr_html_(), trainer.plot()),
    ),
    "callbacks": (
        Classifier,
        lambda folder: {"callbacks": [EarlyStopping("val_loss"), ModelCheckpoint(folder, monitor="val_loss")]},
        run,
    ),
    "a logger": (Classifier, lambda folder: {"loggers": CSVLogger(folder)}, run),
    "metrics": (
        Classifier,
        {"metrics": {"acc": torchmetrics.MeanMetric()}},
        run_without_predictions,
    ),
    "a saved state": (Classifier.add_on(StateManagerAddon), lambda folder: {"save_path": folder}, run),
    "bfloat16": (Classifier.add_on(PrecisionMixerAddon), {"precision": "bf16"}, run),
    "two processes": (Classifier.add_on(MultiGPUAddon), {"device": ["cpu", "cpu"]}, run),
    "the generated module": (Classifier, {}, lambda trainer, loader: trainer.lightning_module),
}


@pytest.fixture
def _without_the_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_the_collector")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_deleting_a_trainer_frees_all_at_once(make, loader, tmp_path, situation):
    cls, arguments, use = SITUATIONS[situation]
    trainer = make(cls, **(arguments(str(tmp_path)) if callable(arguments) else arguments))
    references = {name: weakref.ref(getattr(trainer, name)) for name in ("model", "optimizer")}
    references["trainer"] = weakref.ref(trainer)
    with contextlib.suppress(ArithmeticError, StopIteration, KeyboardInterrupt):
        use(trainer, loader)
    del trainer
    assert [name for name, reference in references.items() if reference() is not None] == []
