"""Signatures: what type checkers see is what the mixins take."""

from __future__ import annotations

import inspect

import pytest

from zae_engine.trainer import addons
from zae_engine.trainer.addons.signatures import AddOnsSignature, StateManagerSignature

MIXINS = [value for name, value in vars(addons).items() if name.endswith("Mixin")]


def keywords(cls):
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: (p.annotation, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_several_add_ons_take_the_keywords_of_all():
    assert len(MIXINS) == 5
    expected = {name: value for mixin in MIXINS for name, value in keywords(mixin).items()}
    assert keywords(AddOnsSignature) == expected


@pytest.mark.parametrize("mixin", MIXINS)
def test_several_add_ons_have_the_methods_of_each(mixin):
    assert issubclass(AddOnsSignature, mixin)


def test_a_state_manager_needs_its_folder_and_takes_nothing_else_than_the_mixin():
    shown, real = keywords(StateManagerSignature), keywords(addons.StateManagerMixin)
    assert shown.pop("save_path")[1] is inspect.Parameter.empty
    assert real.pop("save_path")[1] is None
    assert shown == real
