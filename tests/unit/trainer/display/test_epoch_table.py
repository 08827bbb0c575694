"""Epoch table: which rows a cell shows, as HTML and as text."""

from __future__ import annotations

import re

from zae_engine.trainer.display.epoch_line import EpochLine
from zae_engine.trainer.display.epoch_table import EpochTable


def line(epoch, is_best=False, **values):
    values = values or {"train": {"loss": "0.5", "acc": "0.9"}, "test": {"loss": "0.6"}}
    return EpochLine(f"Epoch {epoch}/50", epoch, values, 1.0, is_best)


def rows(table):
    found = re.findall(r"<tr>(.*?)</tr>", table.as_html())
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found]


def test_train_and_test_values_stand_side_by_side_and_the_best_is_marked():
    table = EpochTable(2, 8)
    assert (len(table), table.as_html(), table.as_text()) == (0, "", "")
    for epoch in (1, 2, 3):
        table.add(line(epoch, is_best=epoch < 3))
    assert rows(table) == [
        ["epoch", "train_loss", "test_loss", "train_acc", "time", ""],
        ["1", "0.5", "0.6", "0.9", "1.0 s", ""],
        ["2", "0.5", "0.6", "0.9", "1.0 s", "best"],
        ["3", "0.5", "0.6", "0.9", "1.0 s", ""],
    ]
    assert table.as_text().splitlines()[1] == "Epoch 2/50 | train_loss: 0.5, acc: 0.9 | test_loss: 0.6 | 1.0 s *"


def test_a_long_one_has_the_first_the_best_and_the_latest_rows():
    table = EpochTable(2, 8)
    for epoch in range(1, 51):
        table.add(line(epoch, is_best=epoch in (1, 20)))
    first = [row[0] for row in rows(table)]
    assert first == ["epoch", "1", "2", "… 17 more …", "20", "… 22 more …", *map(str, range(43, 51))]
    assert table.as_text().splitlines()[2:5] == ["… 17 more …", line(20, True).text(), "… 22 more …"]


def test_no_row_says_that_one_is_left_out_where_it_would_take_its_place():
    table = EpochTable(2, 8)
    for epoch in range(1, 12):
        table.add(line(epoch))
    assert "more" not in table.as_text()
    table.add(line(12))
    assert "… 2 more …" in table.as_text()


def test_texts_take_a_whole_row_and_nothing_is_markup():
    table = EpochTable(2, 8)
    table.add(line(1, test={"<i>": "<b>"}))
    table.add("stopped by <me>")
    table.add(line(2, train={"loss": "1"}))
    assert rows(table) == [
        ["epoch", "test_&lt;i&gt;", "train_loss", "time", ""],
        ["1", "&lt;b&gt;", "", "1.0 s", ""],
        ["stopped by &lt;me&gt;"],
        ["2", "", "1", "1.0 s", ""],
    ]
    assert table.as_text().splitlines()[1] == "stopped by <me>"
