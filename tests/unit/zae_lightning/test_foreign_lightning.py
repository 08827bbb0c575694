"""Foreign Lightning: objects of ``pytorch_lightning`` are those of both packages for a run; modules are of both."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.trainer.connectors.data_connector import _DataConnector
from lightning.pytorch.utilities.model_helpers import is_overridden
from zae_lightning import AutomaticOptimizationModule, ManualOptimizationModule, foreign_lightning
from zae_lightning.foreign_lightning import (
    MixedTrainer,
    bridged,
    check_can_be_bridged,
    class_for_trainer,
    is_foreign,
    is_instance,
    module_class,
    trainer_class,
)
from zae_lightning.performance.trainer import FastTrainer

P = pytest.importorskip("pytorch_lightning")


def test_instances_of_either_package():
    assert is_instance(L.callbacks.EarlyStopping("a"), EarlyStopping)
    assert is_instance(P.callbacks.EarlyStopping("a"), EarlyStopping)
    assert is_instance(P.loggers.CSVLogger("logs"), Logger)
    assert not is_instance(P.callbacks.EarlyStopping("a"), Checkpoint)
    assert not is_instance(object(), L.Callback)


def test_an_object_keeps_its_identity_and_has_its_own_class_again_afterwards():
    class Mine(P.callbacks.ModelCheckpoint):
        """A subclass of the user's."""

    save, home, logger = Mine(monitor="loss"), L.callbacks.ModelCheckpoint(), P.loggers.CSVLogger("logs")
    key = save.state_key
    with bridged([save, home, logger]), bridged([save]):
        assert isinstance(save, ModelCheckpoint)
        assert isinstance(save, Mine)
        assert isinstance(logger, CSVLogger)
        assert save.state_key == key
        assert type(save).setup is P.callbacks.ModelCheckpoint.setup
        assert not is_foreign(save)
    assert type(save) is Mine
    assert type(logger) is P.loggers.CSVLogger
    assert type(home) is L.callbacks.ModelCheckpoint
    assert is_foreign(save)
    assert not is_foreign(home)


def test_the_class_is_restored_after_an_exception_too():
    stopping = P.callbacks.EarlyStopping("loss")
    with pytest.raises(RuntimeError), bridged([stopping]):
        raise RuntimeError
    assert type(stopping) is P.callbacks.EarlyStopping


@pytest.mark.parametrize("name", sorted({*L.callbacks.__all__} & {*P.callbacks.__all__}))
def test_every_callback_can_be_bridged(name):
    cls = type("Mine", (getattr(P.callbacks, name),), {})
    assert issubclass(foreign_lightning._bridge(cls), getattr(L.callbacks, name))


@pytest.mark.parametrize(
    "build",
    [
        lambda: P.strategies.SingleDeviceStrategy("cpu"),
        lambda: P.plugins.MixedPrecision("bf16-mixed", "cpu"),
        lambda: P.plugins.TorchCheckpointIO(),
        lambda: P.callbacks.BatchSizeFinder(),
    ],
)
def test_what_cannot_be_bridged_is_named(build):
    value = build()
    with pytest.raises(TypeError, match=rf"{type(value).__name__} comes from pytorch_lightning .*lightning\.pytorch"):
        check_can_be_bridged(L.Callback(), value)


def test_the_trainer_finds_its_callbacks_after_the_run(tmp_path):
    save, stopping = P.callbacks.ModelCheckpoint(tmp_path), P.callbacks.EarlyStopping("loss")
    bar, logger = P.callbacks.TQDMProgressBar(), P.loggers.CSVLogger(tmp_path, "a")
    objects = [save, stopping, bar, logger]
    assert trainer_class([L.Callback()]) is FastTrainer
    cls = trainer_class(objects)
    assert cls is MixedTrainer
    with bridged(objects):
        assert trainer_class(objects) is MixedTrainer
        trainer = cls(accelerator="cpu", callbacks=objects[:3], logger=[logger])
        assert isinstance(bar, ProgressBar)
    assert trainer.checkpoint_callbacks == [save]
    assert trainer.checkpoint_callback is save
    assert trainer.early_stopping_callbacks == [stopping]
    assert trainer.progress_bar_callback is bar
    assert trainer.log_dir == logger.log_dir


# The generated module


@pytest.fixture
def module(make):
    return make().lightning_module


def test_a_module_is_of_both_packages(module):
    assert isinstance(module, L.LightningModule)
    assert isinstance(module, P.LightningModule)
    assert isinstance(module, AutomaticOptimizationModule)
    assert type(module).__name__ == "AutomaticOptimizationModule"


def test_what_a_module_does_not_override_comes_from_its_trainers_package(module):
    """Lightning compares code to see what is overridden; without this it would call loader methods that only raise."""
    from pytorch_lightning.utilities.model_helpers import is_overridden as is_overridden_there

    for trainer, check in ((L.Trainer, is_overridden), (P.Trainer, is_overridden_there), (L.Trainer, is_overridden)):
        module.trainer = trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        assert isinstance(module, AutomaticOptimizationModule)
        for name in ("val_dataloader", "test_dataloader", "predict_dataloader", "configure_model", "prepare_data"):
            assert not check(name, module), name
        for name in ("training_step", "validation_step", "configure_optimizers", "train_dataloader"):
            assert check(name, module), name


def test_lightning_attaches_the_trainer_before_it_asks_what_is_overridden():
    source = inspect.getsource(_DataConnector.attach_data)
    assert "model.trainer = self.trainer" in source
    assert "is_overridden" not in source


def test_a_module_of_both_packages_can_be_pickled(module):
    for cls in (type(module), class_for_trainer(type(module), P.Trainer(accelerator="cpu", logger=False))):
        assert pickle.loads(pickle.dumps(cls)) is cls
        assert copy.deepcopy(cls) is cls
    assert pickle.loads(pickle.dumps(module_class(ManualOptimizationModule))) is module_class(ManualOptimizationModule)
    with pytest.raises(AttributeError):
        foreign_lightning.Something_lightning


def test_a_run_does_not_import_the_other_package():
    code = """
import sys, torch
from tests.conftest import Classifier
from torch.utils.data import DataLoader, TensorDataset
from lightning.pytorch.callbacks import EarlyStopping
model = torch.nn.Linear(10, 2)
trainer = Classifier(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), 0.1), log_bar=False,
    callbacks=[EarlyStopping("train_loss")])
trainer.run(1, DataLoader(TensorDataset(torch.randn(8, 10), torch.randint(0, 2, (8,))), 4))
assert type(trainer.lightning_module).__mro__[0].__module__ == "zae_lightning.module"
sys.exit("pytorch_lightning" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
