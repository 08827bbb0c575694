from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from tests.conftest import Classifier
from zae_engine.trainer._state import TrainerState
from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.checkpoint.validated_weights import (
    keep_validated_weights,
    weights_of_epoch,
    weights_to_continue,
)


def trainer():
    return SimpleNamespace(_zae_state=TrainerState(), model=torch.nn.Linear(2, 1), loss_buffer=1.0)


def change(model):
    with torch.no_grad():
        model.weight.add_(1.0)


def test_the_weights_of_the_best_validation_are_kept_when_others_take_their_place():
    made = trainer()
    keep_validated_weights(made, True)
    before = made.model.weight.detach().clone()
    assert weights_to_continue(made) is None
    change(made.model)
    assert torch.equal(weights_of_epoch(made)["weight"], before)
    assert torch.equal(weights_to_continue(made)["weight"], made.model.weight)


def test_a_validation_that_is_not_the_best_keeps_nothing():
    made = trainer()
    keep_validated_weights(made, False)
    change(made.model)
    assert torch.equal(weights_of_epoch(made)["weight"], made.model.weight)
    assert weights_to_continue(made) is None


def averaging(model, folder):
    cls = Classifier.add_on(StateManagerAddon)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = [EMAWeightAveraging(decay=0.5)]
    return cls(model, "cpu", optimizer=optimizer, callbacks=parts, log_bar=False, save_path=str(folder))


def schedule_free(model, folder):
    cls = Classifier.add_on(StateManagerAddon)
    return cls(model, "cpu", optimizer=Interpolates(model.parameters()), log_bar=False, save_path=str(folder))


class Interpolates(torch.optim.SGD):
    """Evaluates other weights than it trains, which it computes anew at each switch, as schedule-free optimizers do."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1)
        self.param_groups[0]["train_mode"] = True

    def _switch(self, mode, weight):
        if self.param_groups[0]["train_mode"] is not mode:
            self.param_groups[0]["train_mode"] = mode
            for parameter in self.param_groups[0]["params"]:
                if parameter in self.state:
                    parameter.data.lerp_(self.state[parameter]["z"], weight)

    def train(self):
        self._switch(True, 1 - 1 / 0.9)

    def eval(self):
        self._switch(False, 0.1)

    def step(self, closure=None):
        assert self.param_groups[0]["train_mode"]
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter].setdefault("z", parameter.detach().clone()).sub_(parameter.grad, alpha=0.05)
        return super().step(closure)


@pytest.mark.parametrize("make_trainer", [averaging, schedule_free])
def test_training_continues_with_its_own_weights(make_trainer, tmp_path, loader, valid_loader):
    def made(folder):
        torch.manual_seed(0)
        return make_trainer(torch.nn.Sequential(torch.nn.Linear(10, 2)), tmp_path / folder)

    whole = made("whole")
    whole.run(4, loader, valid_loader)
    first = made("parts")
    first.run(2, loader, valid_loader)
    assert first.weight_buffer["epoch"] == [1]
    saved = torch.load(tmp_path / "parts" / "model.ckpt", weights_only=True)
    for key, value in first.weight_buffer["weight"][-1].items():
        torch.testing.assert_close(saved[key], value)
    second = made("parts")
    second.load_state()
    second.run(2, loader, valid_loader)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])
    assert all(
        torch.equal(value, second.weight_buffer["weight"][-1][key])
        for key, value in whole.weight_buffer["weight"][-1].items()
    )
