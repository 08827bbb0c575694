"""Comparison: several runs in one figure, and in a table."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from zae_engine.trainer import History, compare

mpl.use("agg")


def history(scale: float, epochs: int = 5, keys: tuple[str, ...] = ("loss", "acc")) -> History:
    made = History()
    for epoch in range(1, epochs + 1):
        values = {f"{mode}_{key}": scale / epoch + (mode == "test") for key in keys for mode in ("train", "test")}
        made.add({"epoch": epoch, "steps": 2 * epoch, **values, "lr": 0.1, "seconds": 0.5, "best": epoch <= 3})
    return made


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_a_quantity_a_colour_a_run_and_one_legend():
    figure = compare({"slow": history(1.0), "fast": history(2.0, epochs=3)}, title="Two rates")
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "acc"]
    assert labels(figure) == ["slow", "fast", "train", "test", "best epoch"]
    assert figure.get_suptitle() == "Two rates"
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert len(curves) == 4
    assert len({line.get_color() for line in curves}) == 2
    assert {line.get_linestyle() for line in curves} == {"-", "--"}


def test_the_limits_hold_all_runs():
    figure = compare({"small": history(1.0), "large": history(100.0)}, "loss")
    low, high = figure.axes[0].get_ylim()
    assert low < 0.2
    assert high > 101


def test_the_best_epochs_are_marked_on_the_test_curves():
    figure = compare({"only": history(3.0)}, "loss")
    (star,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([3], [2.0])


def test_runs_may_be_trainers_and_files_and_lack_a_quantity(make, loader, valid_loader, tmp_path):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    trainer.history.save(tmp_path / "saved.json")
    figure = compare({"trainer": trainer, "file": tmp_path / "saved.json", "other": history(1.0, keys=("loss",))})
    assert labels(figure)[:3] == ["trainer", "file", "other"]
    assert len(figure.axes) == 2


def test_the_table_has_the_best_epochs():
    table = compare({"slow": history(1.0), "none": History()}, table=True)
    assert list(table.index) == ["slow", "none"]
    row = table.loc["slow"]
    assert (row["best epoch"], row["test_loss"], row["epochs"], row["seconds"]) == (3, 1 / 3 + 1, 5, 2.5)
    assert table.loc["none", "epochs"] == 0


def test_many_runs_have_many_colours():
    figure = compare({str(i): history(float(i)) for i in range(1, 15)}, "loss")
    colours = {str(line.get_color()) for line in figure.axes[0].lines if line.get_linestyle() == "-"}
    assert len(colours) == 14


def test_nothing_to_compare_says_so():
    figure = compare({"a": History()})
    assert figure.axes[0].texts[0].get_text() == "no epoch yet"
    with pytest.raises(KeyError, match=r"No run has 'f1'; there are loss, acc"):
        compare({"a": history(1.0)}, "f1")
    with pytest.raises(TypeError, match="no dict of names and runs"):
        compare([history(1.0)])
    with pytest.raises(TypeError, match="The run 'a' is of type int"):
        compare({"a": 3})


def test_a_title_for_a_table_is_refused():
    with pytest.raises(ValueError, match="title='A table' is the title of a figure"):
        compare({"a": History()}, table=True, title="A table")
