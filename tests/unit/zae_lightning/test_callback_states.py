"""Callback states: what callbacks write into a checkpoint, and its way back."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import Callback
from zae_lightning.callback_states import callback_states, resume_callbacks


class Counting(Callback):
    def __init__(self):
        self.epochs, self.loaded = 0, []

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs} if self.epochs else {}

    def load_state_dict(self, state):
        self.loaded.append("state")
        self.epochs = state["epochs"]

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        self.loaded.append(checkpoint["state_dict"])


class Averaging(Callback):
    """Replaces the weights of a checkpoint, and saves the states in the middle of a run."""

    def __init__(self, zae_trainer=None, replaces=True):
        self.zae_trainer, self.replaces, self.saved = zae_trainer, replaces, None

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        checkpoint["average"] = torch.ones(2)
        if self.replaces:
            checkpoint["state_dict"] = {"weight": torch.zeros(1)}

    def on_train_epoch_end(self, trainer, pl_module):
        self.saved = callback_states(self.zae_trainer)


def test_between_runs_only_the_states_that_callbacks_keep_are_collected(make, loader):
    trainer = make(callbacks=[Counting(), Callback()])
    assert callback_states(trainer) == {"callbacks": {}}
    trainer.run(2, loader)
    assert callback_states(trainer) == {"callbacks": {trainer.callbacks[0].state_key: {"epochs": 2}}}


def during_a_run(make, loader, replaces):
    averaging = Averaging(replaces=replaces)
    trainer = make(callbacks=[averaging, Counting()])
    averaging.zae_trainer = trainer
    trainer.run(1, loader)
    return averaging.saved


def test_during_a_run_callbacks_write_what_they_write_for_lightning(make, loader):
    saved = during_a_run(make, loader, replaces=True)
    assert torch.equal(saved["average"], torch.ones(2))
    assert torch.equal(saved["state_dict"]["weight"], torch.zeros(1))


def test_the_weights_of_the_model_are_not_saved_a_second_time(make, loader):
    assert during_a_run(make, loader, replaces=False)["state_dict"] == "the weights of the model"


def test_states_are_restored_after_on_load_checkpoint_with_the_models_weights(make, loader):
    trainer = make(callbacks=[Counting()])
    trainer.run(1, loader)
    lightning_trainer, callback = trainer.lightning_trainer, trainer.callbacks[0]
    module = lightning_trainer.lightning_module
    checkpoint = {"callbacks": {callback.state_key: {"epochs": 7}}, "state_dict": "the weights of the model"}
    resume_callbacks(lightning_trainer, module, checkpoint)
    weights, last = callback.loaded
    assert torch.equal(weights["model.weight"], trainer.model.weight)
    assert last == "state"
    assert callback.epochs == 7


def test_a_checkpoint_without_weights_calls_no_on_load_checkpoint(make, loader):
    trainer = make(callbacks=[Counting()])
    trainer.run(1, loader)
    lightning_trainer, callback = trainer.lightning_trainer, trainer.callbacks[0]
    resume_callbacks(lightning_trainer, lightning_trainer.lightning_module, {"callbacks": {"another": {"epochs": 7}}})
    assert callback.loaded == []
    assert callback.epochs == 1
