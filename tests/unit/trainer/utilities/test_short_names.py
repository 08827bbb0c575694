"""Short names: objects in a few words."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from zae_engine.trainer.utilities.short_names import kind_of, short_name

MODEL = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
SGD = torch.optim.SGD(MODEL.parameters(), 0.1)


class Refusing:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MODEL, "a module (Sequential)"),
        (SGD, "an optimizer (SGD)"),
        (torch.optim.lr_scheduler.StepLR(SGD, 1), "a scheduler (StepLR)"),
        (torch.optim.lr_scheduler.ReduceLROnPlateau(SGD), "a scheduler (ReduceLROnPlateau)"),
        (DataLoader([1]), "a loader (DataLoader)"),
        (torch.optim.SGD, "the class SGD"),
        ("cpu", "'cpu'"),
        (3, "3"),
        ("x" * 100, "of type str"),
        (torch.zeros(3, 3), "of type Tensor"),
        (Refusing(), "of type Refusing"),
    ],
)
def test_in_a_few_words(value, text):
    assert short_name(value) == text


def test_other_objects_have_no_kind():
    assert kind_of(3) is kind_of(None) is kind_of(torch.optim.SGD) is None
