"""Fast trainer: its properties have the values of Lightning's own, throughout a run."""

import inspect

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector
from lightning.pytorch.trainer.states import RunningStage
from zae_lightning.performance.trainer import FastCallbackConnector, FastTrainer

SILENT = {
    "accelerator": "cpu",
    "max_epochs": 2,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen = []

    def note(self):
        plain = L.Trainer.training.fget(self.trainer), L.Trainer.strategy.fget(self.trainer)
        assert (self.trainer.training, self.trainer.strategy) == plain
        self.seen.append(self.trainer.training)

    def training_step(self, batch, batch_idx):
        self.note()
        return self.layer(batch).mean()

    def validation_step(self, batch, batch_idx):
        self.note()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_its_properties_have_the_values_of_lightnings():
    trainer, module = FastTrainer(**SILENT), Module()
    assert not trainer.training
    loader = torch.utils.data.DataLoader(torch.zeros(1, 2))
    trainer.fit(module, loader, loader)
    assert module.seen == [False, *[True, False] * 2]  # the sanity check first
    assert not trainer.training
    assert isinstance(trainer, L.Trainer)


@pytest.mark.parametrize("name", ["training", "validating", "testing", "sanity_checking"])
def test_a_stage_can_be_asked_for_and_set_as_in_lightning(name):
    def play(cls):
        trainer, seen = cls(logger=False, enable_progress_bar=False, enable_checkpointing=False), []
        for stage in (None, *RunningStage):
            for value in (None, True, False):
                trainer.state.stage = stage
                if value is not None:
                    setattr(trainer, name, value)
                seen.append((getattr(trainer, name), trainer.state.stage))
        return seen

    assert play(FastTrainer) == play(L.Trainer)


@pytest.mark.parametrize(("steps", "is_restored"), [(0, False), (2, True)])
def test_random_states_are_restored_only_around_a_sanity_check(steps, is_restored):
    trainer = FastTrainer(num_sanity_val_steps=steps, **SILENT)
    drawn = []
    trainer._run_sanity_check = trainer.fit_loop.run = lambda: drawn.append(torch.rand(3))
    data = torch.utils.data.DataLoader(torch.zeros(1, 2))
    trainer.fit(Module(), data, data)
    before, after = drawn
    assert torch.equal(before, after) == is_restored


def test_the_private_names_of_the_stage_are_there():
    assert {"isolate_rng"} <= set(L.Trainer._run_stage.__code__.co_names) & set(L.Trainer._run_stage.__globals__)
    assert {"_run_sanity_check"} <= set(L.Trainer._run_stage.__code__.co_names)


def test_its_arguments_are_those_of_lightnings():
    assert inspect.signature(FastTrainer) == inspect.signature(L.Trainer)
    assert type(FastTrainer(**SILENT)._callback_connector) is FastCallbackConnector


def test_the_private_names_of_the_callbacks_are_there():
    init = inspect.unwrap(L.Trainer.__init__)
    assert {"_CallbackConnector"} <= set(init.__code__.co_names) & set(init.__globals__)
    on_init = _CallbackConnector.on_trainer_init
    assert {"_load_external_callbacks"} <= set(on_init.__code__.co_names) & set(on_init.__globals__)
