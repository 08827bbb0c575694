"""A trainer shows itself as a table."""

import torch

from tests.conftest import Classifier
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import PrecisionMixerAddon, StateManagerAddon


def test_it_says_what_it_is_and_where_it_stands(make, loader, valid_loader, tmp_path):
    cls = Classifier.add_on(StateManagerAddon).add_on(PrecisionMixerAddon)
    trainer = make(
        cls,
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 5),
        save_path=tmp_path,
        precision="bf16",
        model=torch.nn.Sequential(torch.nn.Linear(10, 2), torch.nn.Linear(2, 2).requires_grad_(False)),
    )
    assert repr(trainer).splitlines() == [
        "Classifier[StateManagerAddon, PrecisionMixerAddon]",
        "  model      Sequential, 28 parameters, 6 of them frozen",
        "  device     cpu (bf16)",
        "  optimizer  SGD, learning rate 0.1",
        "  scheduler  StepLR, per epoch",
        "  add-ons    StateManagerAddon, PrecisionMixerAddon",
        "  progress   0 epochs, 0 steps, in train mode",
    ]
    trainer.run(2, loader, valid_loader)
    text = repr(trainer)
    assert "2 epochs, 10 steps, in train mode" in text
    assert f"test_loss {trainer.history[-1]['test_loss']:.4g}" in text
    assert f"epoch {trainer.history.best()['epoch']}: train_loss" in text
    assert "StateCheckpoint" in text


def test_as_html_nothing_is_markup_that_should_be_text(make):
    class Odd(torch.nn.Linear):
        pass

    Odd.__name__ = "<script>"
    text = make(model=Odd(10, 2))._repr_html_()
    assert "&lt;script&gt;, 22 parameters" in text
    assert "<script>" not in text


def test_without_a_model_or_an_optimizer_and_with_a_lazy_one(make):
    assert "model      none" in repr(Classifier(None, "cpu"))
    assert "LazyLinear, 0 parameters" in repr(make(model=torch.nn.LazyLinear(2)))


def test_half_constructed_it_shows_what_there_is():
    assert repr(Classifier.__new__(Classifier)) == "Classifier"


def test_a_subclass_may_have_its_own(make):
    class Own(Classifier):
        def __repr__(self):
            return "mine"

    assert repr(make(Own)) == "mine"
    assert Trainer.__repr__(make(Own)).startswith("Own\n")
