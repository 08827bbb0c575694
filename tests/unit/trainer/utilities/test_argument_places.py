"""Argument places: what stands in another's place is named, in one line."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Classifier

MODEL = torch.nn.Linear(10, 2)
SGD = torch.optim.SGD(MODEL.parameters(), 0.1)
STEP = torch.optim.lr_scheduler.StepLR(SGD, 1)
ORDER = r"The order is Trainer\(model, device, mode, optimizer, scheduler\)\."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((SGD, "cpu"), r"model is an optimizer \(SGD\), which is no model\."),
        ((MODEL, SGD), r"device is an optimizer \(SGD\), which is no device\."),
        ((MODEL, MODEL), r"device is a module \(Linear\), which is no device\."),
        ((MODEL, "cpu", SGD), r"mode is an optimizer \(SGD\), which is no mode\."),
        ((MODEL, "cpu", "train", MODEL), r"optimizer is a module \(Linear\), which is no optimizer\."),
        ((MODEL, "cpu", "train", STEP, SGD), r"optimizer is a scheduler \(StepLR\), which is no optimizer\."),
        ((MODEL, "cpu", "train", SGD, SGD), r"scheduler is an optimizer \(SGD\), which is no scheduler\."),
    ],
)
def test_the_constructor_names_the_place(arguments, text):
    with pytest.raises(TypeError, match=f"^{text} {ORDER}$"):
        Classifier(*arguments)


def test_a_module_with_a_step_may_be_an_optimizer_of_the_users():
    class Own(torch.nn.Module):
        def step(self):
            """Do nothing."""

    own = Own()
    assert Classifier(MODEL, "cpu", "train", own, own).optimizer is own


def test_a_class_is_an_error_when_training_begins(loader):
    trainer = Classifier(MODEL, "cpu", "train", torch.optim.SGD, log_bar=False)  # a subclass may make the instance
    with pytest.raises(TypeError, match=r"^optimizer is the class SGD; .*: SGD\(model\.parameters\(\), \.\.\.\)\.$"):
        trainer.run(1, loader)
    trainer = Classifier(MODEL, "cpu", "train", SGD, torch.optim.lr_scheduler.StepLR, log_bar=False)
    with pytest.raises(TypeError, match=r"^scheduler is the class StepLR; .*: StepLR\(optimizer, \.\.\.\)\.$"):
        trainer.run(1, loader)
    trainer.scheduler = None
    trainer.run(1, loader)


def test_other_messages_are_short_too(loader):
    trainer = Classifier(MODEL, "cpu", "train", SGD, log_bar=False)
    with pytest.raises(TypeError, match=r"^n_epoch=a loader \(DataLoader\) is no integer"):
        trainer.run(loader, 3)
    trainer.optimizer = torch.nn.Sequential(MODEL, MODEL)
    with pytest.raises(TypeError, match=r"^optimizer=a module \(Sequential\) is of type Sequential, which is no"):
        trainer.run(1, loader)
