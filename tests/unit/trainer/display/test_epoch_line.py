"""Epoch line: what it says, and how it fits a terminal."""

from __future__ import annotations

import pytest
import torch

from zae_engine.trainer.display.epoch_line import EpochLine, duration, shown_values

TRAIN = {"loss": "0.5123", "acc": "0.8100"}
LINE = EpochLine("Epoch 3/10", 3, {"train": TRAIN, "test": {"loss": "0.6001"}}, 1.24, True)


def test_it_has_the_values_the_seconds_and_a_mark_at_a_new_best():
    assert LINE.text() == "Epoch 3/10 | train_loss: 0.5123, acc: 0.8100 | test_loss: 0.6001 | 1.2 s *"
    assert EpochLine("Epoch 1/2", 1, {"train": {}, "test": {"acc": "1"}}).text() == "Epoch 1/2 | test_acc: 1"


def test_it_leaves_values_out_where_a_terminal_is_narrow():
    assert LINE.text(200) == LINE.text()
    assert LINE.text(76) == LINE.text()
    assert LINE.text(73) == "Epoch 3/10 | train_loss: 0.5123, … | test_loss: 0.6001 | 1.2 s *"
    assert LINE.text(12) == "Epoch 3/10 …"
    many = {f"m{i}": "0.5000" for i in range(30)}
    line = EpochLine("Epoch 1/1", 1, {"train": {"loss": "0.1", **many}, "test": {"loss": "0.2", **many}}, 3.0, True)
    for width in range(70, 600, 13):
        text = line.text(width)
        assert len(text) <= width
        assert "train_loss: 0.1" in text
        assert "test_loss: 0.2" in text
        assert text.endswith("3.0 s *")
    assert EpochLine("Epoch 1/1", 1).text(4) == "Epo…"


def test_values_are_short_texts_and_the_loss_comes_first():
    values = {
        "acc": 0.5,
        "loss": torch.tensor(0.25),
        "rate": 1.25e-7,
        "count": 3e8,
        "zero": 0,
        "none": float("nan"),
        "note": "fine",
        "table": "a\nb",
        "long": "x" * 100,
        "matrix": torch.zeros(20, 20),
    }
    assert shown_values(values) == {
        "loss": "0.2500",
        "acc": "0.5000",
        "rate": "1.250e-07",
        "count": "3.000e+08",
        "zero": "0.0000",
        "none": "nan",
        "note": "fine",
    }
    assert next(iter(shown_values(values))) == "loss"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (99.4, "99 s"), (99.6, "1:40 min"), (125, "2:05 min"), (3725.2, "1:02:05 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
