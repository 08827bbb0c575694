"""Composition: names, order, pickles, and add-ons that are given twice."""

from __future__ import annotations

import copy
import pickle

import pytest

from tests.conftest import Classifier
from zae_engine.trainer.addons import (
    AddOnBase,
    MultiGPUAddon,
    StateManagerAddon,
    StateManagerMixin,
    WandBLoggerAddon,
    WandBLoggerMixin,
)
from zae_engine.trainer.addons.compose import add_ons_of, with_mixin


class Shout(AddOnBase):
    @classmethod
    def apply(cls, base_cls):
        class Shouting(base_cls):
            words = (*getattr(base_cls, "words", ()), "shout")

        return Shouting


class Whisper(AddOnBase):
    @classmethod
    def apply(cls, base_cls):
        class Whispering(base_cls):
            words = (*getattr(base_cls, "words", ()), "whisper")

        return Whispering


def test_the_first_add_on_is_innermost():
    assert Classifier.add_on(Shout, Whisper).words == ("shout", "whisper")
    assert add_ons_of(Classifier.add_on(Shout, Whisper)) == ["Shout", "Whisper"]


def test_one_call_and_two_calls_give_the_same_name():
    assert Classifier.add_on(Shout).add_on(Whisper).__name__ == Classifier.add_on(Shout, Whisper).__name__


def test_no_add_on_gives_the_class_itself():
    assert Classifier.add_on() is Classifier


def test_instances_are_pickled_by_their_class_and_add_ons(make):
    trainer = make(Classifier.add_on(Shout))
    trainer.run_count = 3
    for copied in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert type(copied) is type(trainer)
        assert copied.run_count == 3


@pytest.mark.parametrize("wrong", [3, "Shout", object()])
def test_what_is_no_add_on_is_named(wrong):
    with pytest.raises(TypeError, match="add_on got"):
        Classifier.add_on(wrong)


def test_an_add_on_that_returns_no_class_is_named():
    class Broken(AddOnBase):
        @classmethod
        def apply(cls, base_cls):
            return None

    with pytest.raises(TypeError, match="must return a subclass"):
        Classifier.add_on(Broken)


def test_an_add_on_given_twice_counts_once(make, tmp_path):
    twice = Classifier.add_on(StateManagerAddon).add_on(MultiGPUAddon, StateManagerAddon)
    trainer = make(twice, save_path=str(tmp_path))
    assert trainer.save_path == str(tmp_path)


def test_a_mixin_is_put_before_the_class():
    class Mixin:
        mode_of_mixin = True

    combined = with_mixin(Classifier, Mixin, "Combined")
    assert combined.__mro__[1:3] == (Mixin, Classifier)
    assert with_mixin(combined, Mixin, "Again") is combined


class Written(WandBLoggerMixin, StateManagerMixin, Classifier):
    """What ``Classifier.add_on(StateManagerAddon, WandBLoggerAddon)`` is, as a class statement."""


def test_mixins_in_a_class_statement_are_add_ons(make, loader, tmp_path):
    assert add_ons_of(Written) == add_ons_of(Classifier.add_on(StateManagerAddon, WandBLoggerAddon))
    assert add_ons_of(Written) == ["StateManagerAddon", "WandBLoggerAddon"]
    assert issubclass(Written.add_on(StateManagerAddon), Written)
    trainer = make(Written, save_path=tmp_path)
    trainer.run(1, loader)
    copied = pickle.loads(pickle.dumps(trainer))
    assert type(copied) is Written
    copied.load_state()
    assert copied.progress_checker.get_epoch() == 2
