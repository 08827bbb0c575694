"""Overrides: which replacements of a method count."""

from __future__ import annotations

import pytest

from tests.conftest import Classifier
from zae_engine.trainer.overrides import ORIGINALS, defines_attribute, is_overridden


def test_nothing_is_overridden_in_a_trainer_with_two_steps(make):
    assert not any(is_overridden(make(), name) for name in ORIGINALS)


@pytest.mark.parametrize("name", sorted(["run_epoch", "run_batch", "print_log", "logging", "_to_cpu"]))
def test_a_subclass_an_instance_and_an_assignment_on_the_class_count(make, monkeypatch, name):
    def replacement(self, *args, **kwargs): ...

    subclass = type("Subclass", (Classifier,), {name: replacement})
    assert is_overridden(make(subclass), name)
    trainer = make()
    setattr(trainer, name, lambda *args: None)
    assert is_overridden(trainer, name)
    monkeypatch.setattr(Classifier, name, replacement, raising=False)
    assert is_overridden(make(), name)


def test_a_subclass_that_inherits_the_method_does_not_count(make):
    assert not is_overridden(make(type("Same", (Classifier,), {})), "run_batch")


class AssignsIt(Classifier):
    def prepare(self):
        return [setattr(self, "x", 1) for _ in range(2)], self._later()

    def _later(self):
        def inner():
            self.callbacks = "mine"

        return inner


class ReadsIt(Classifier):
    def train_step(self, batch):
        self.callbacks.append(1)
        return super().train_step(batch)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (AssignsIt, True),
        (type("Inherits", (AssignsIt,), {}), True),
        (type("Defines", (Classifier,), {"callbacks": ["mine"]}), True),
        (ReadsIt, False),
        (Classifier, False),
    ],
)
def test_a_subclass_uses_a_name_itself_if_it_defines_or_assigns_it(cls, expected):
    assert defines_attribute(cls, "callbacks") is expected
