"""Plotting: the panels, curves and labels of a figure, and the line of text."""

import math

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from tests.conftest import Classifier
from zae_engine.trainer import History
from zae_engine.trainer.plotting import line


@pytest.fixture(autouse=True)
def _without_a_window():
    matplotlib.use("agg")
    yield
    pyplot.close("all")


def history(n=5, **values):
    made = History()
    for i in range(n):
        record = {"epoch": i + 1, "steps": 10 * (i + 1), "train_loss": 2.0 / (i + 1), "test_loss": 1.0 + (i - 2) ** 2}
        made.add({**record, "lr": 0.1 ** (i + 1), "seconds": 1.0, "best": i <= 2, **values})
    return made


def labels(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_figure_has_a_part_for_each_quantity_and_the_rate_beneath(make, loader, valid_loader):
    trainer = make(scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5))
    trainer.run(4, loader, valid_loader)
    figure = trainer.plot()
    assert isinstance(figure, Figure)
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "acc", "learning rate"]
    assert figure.axes[-1].get_xlabel() == "epoch"
    best = trainer.history.best()
    assert labels(figure.axes[0]) == [
        *("train steps, smoothed", "train", "test", f"best epoch {best['epoch']}: {best['test_loss']:.4g}")
    ]
    drawn = {curve.get_label(): curve for curve in figure.axes[0].get_lines()}
    assert list(drawn["test"].get_ydata()) == trainer.history["test_loss"]
    assert list(drawn["train"].get_xdata()) == [1, 2, 3, 4]


def test_a_constant_rate_has_no_panel_and_a_title_is_shown(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    figure = trainer.plot(title="First try")
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "acc"]
    assert figure.get_suptitle() == "First try"


def test_labelled_runs_on_one_axis_have_a_colour_each(make, loader, valid_loader):
    axis = Figure().subplots()
    for name in ("first", "second"):
        trainer = make()
        trainer.run(2, loader, valid_loader)
        trainer.plot("loss", ax=axis, label=name)
    curves = {line.get_label(): line for line in axis.lines}
    assert {"first, train", "first, test", "second, train", "second, test"} <= set(curves)
    assert curves["first, train"].get_color() == curves["first, test"].get_color()
    assert curves["first, test"].get_color() != curves["second, test"].get_color()
    assert (curves["first, train"].get_linestyle(), curves["first, test"].get_linestyle()) == ("--", "-")


def test_the_best_epoch_is_marked_on_its_curve():
    figure = history().plot("loss")
    star = next(curve for curve in figure.axes[0].get_lines() if curve.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (3, 1.0)


def test_the_rate_is_on_a_logarithmic_scale_where_it_spans_orders_of_magnitude():
    assert history().plot().axes[-1].get_yscale() == "log"
    assert history(lr=0.1).plot().axes[-1].get_yscale() == "linear"


def test_keys_choose_and_axes_are_drawn_into():
    figure, axes = pyplot.subplots(1, 2)
    made = history(train_acc=0.5, test_acc=0.6)
    assert made.plot(["acc", "loss"], ax=axes) is figure
    assert [axis.get_ylabel() for axis in axes] == ["acc", "loss"]
    figure, axis = pyplot.subplots()
    made.plot("acc", ax=axis)
    assert axis.get_ylabel() == "acc"
    with pytest.raises(ValueError, match="2 keys; give one for each"):
        made.plot(["acc", "loss"], ax=axis)
    with pytest.raises(KeyError, match="there are loss, acc"):
        made.plot("nothing")


def test_no_window_and_no_figure_is_left_behind():
    for _ in range(3):
        history().plot()
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    "made", [History(), history(1), history(3, train_loss=math.nan), history(2, test_loss=math.inf)]
)
def test_short_and_odd_histories_can_be_plotted(made, tmp_path):
    made.plot().savefig(tmp_path / "figure.png")


def test_what_an_interrupted_first_epoch_gave_can_be_plotted(make, loader):
    class Interrupted(Classifier):
        def train_step(self, batch):
            if self.progress_checker.get_step() == 20:
                raise KeyboardInterrupt
            return super().train_step(batch)

    trainer = make(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(1, [batch for _ in range(10) for batch in loader])
    assert labels(trainer.plot().axes[0]) == ["train steps, smoothed"]


def test_a_line_of_text_shows_both_losses():
    assert line(history(3)) == "train_loss █▃▁ 0.6667   test_loss █▃▁ 1"
    assert line(History()) == ""
    assert line(history(3, train_loss=1.0, test_loss=math.nan)) == "train_loss ▁▁▁ 1"


def test_axes_of_the_users_own_say_that_there_is_nothing_to_plot_and_get_the_title():
    axis = Figure().subplots()
    History().plot(ax=axis, title="Not yet")
    assert [text.get_text() for text in axis.texts] == ["no epoch yet"]
    assert axis.get_title() == "Not yet"


def long_run(scale):
    made = history()
    for record in made:
        record["train_loss"], record["test_loss"] = scale * record["train_loss"], scale * record["test_loss"]
    made.losses["train"].extend(scale * torch.linspace(2.0, 0.4, 50))
    return made


@pytest.mark.parametrize("label", [None, "another"])
def test_limits_hold_the_curves_of_all_runs_on_an_axis(label):
    axis = Figure().subplots()
    long_run(1.0).plot("loss", ax=axis)
    long_run(10.0).plot("loss", ax=axis, label=label)
    long_run(0.01).plot("loss", ax=axis, label=label)
    low, high = axis.get_ylim()
    assert low < 0.01 * 0.4
    assert high > 10.0 * 5.0


def test_limits_of_the_users_own_stay():
    axis = Figure().subplots()
    axis.set_ylim(0.0, 1.5)
    long_run(1.0).plot("loss", ax=axis)
    long_run(10.0).plot("loss", ax=axis, label="another")
    assert axis.get_ylim() == (0.0, 1.5)
