"""Nested: leaves come in the order of the containers."""

from __future__ import annotations

from collections import OrderedDict

import torch

from zae_engine.trainer.utilities.nested import leaves


def test_the_leaves_of_nested_containers_come_in_order():
    tensor = torch.zeros(2)
    value = {"a": [tensor, ("text", None)], "b": OrderedDict(c=1, d=[]), "e": {2, 3}}
    assert list(leaves(value)) == [tensor, "text", None, 1, {2, 3}]


def test_another_value_is_its_only_leaf():
    assert list(leaves("text")) == ["text"]
    assert list(leaves(None)) == [None]
