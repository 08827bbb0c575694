"""Add-on base: what an add-on must be."""

from __future__ import annotations

import pytest

from tests.conftest import Classifier
from zae_engine.trainer import T
from zae_engine.trainer.addons import AddOnBase
from zae_engine.trainer.addons.core import T as T_OF_CORE


def test_an_add_on_without_apply_cannot_be_made():
    class Incomplete(AddOnBase): ...

    with pytest.raises(TypeError, match="apply"):
        Incomplete()
    with pytest.raises(NotImplementedError, match="Add-on must implement the apply method"):
        Classifier.add_on(Incomplete)


def test_the_type_variable_has_one_identity():
    assert T is T_OF_CORE
