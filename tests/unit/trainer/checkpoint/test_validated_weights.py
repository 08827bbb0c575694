import math
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
    keep_validated_weights(made, 0.5)
    before = made.model.weight.detach().clone()
    assert weights_to_continue(made) is None
    change(made.model)
    assert torch.equal(weights_of_epoch(made)["weight"], before)
    assert torch.equal(weights_to_continue(made)["weight"], made.model.weight)


@pytest.mark.parametrize("loss", [1.0, 2.0, math.nan])
def test_a_validation_that_is_not_the_best_keeps_nothing(loss):
    made = trainer()
    keep_validated_weights(made, loss)
    change(made.model)
    assert torch.equal(weights_of_epoch(made)["weight"], made.model.weight)
    assert weights_to_continue(made) is None


def run_with_averages(make, folder, loader, valid_loader, epochs):
    torch.manual_seed(0)
    cls = Classifier.add_on(StateManagerAddon)
    return make(cls, callbacks=[EMAWeightAveraging(decay=0.5)], save_path=str(folder))


def test_a_run_with_averages_resumes_from_the_weights_of_training(make, tmp_path, loader, valid_loader):
    whole = run_with_averages(make, tmp_path / "whole", loader, valid_loader, 4)
    whole.run(2, loader, valid_loader)
    resumed = run_with_averages(make, tmp_path / "whole", loader, valid_loader, 2)
    resumed.load_state()
    assert resumed.progress_checker.get_epoch() == whole.progress_checker.get_epoch()
    saved = torch.load(tmp_path / "whole" / "model.ckpt", weights_only=True)
    assert all(torch.equal(saved[key], whole.weight_buffer["weight"][-1][key]) for key in saved)
