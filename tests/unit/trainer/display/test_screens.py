"""Screens: what a terminal shows, and which screen a process has."""

from __future__ import annotations

import io
import re
import sys
import types

import pytest

from zae_engine.trainer import History
from zae_engine.trainer.display.epoch_line import EpochLine
from zae_engine.trainer.display.notebook import Notebook, is_notebook
from zae_engine.trainer.display.screens import LogFile, NullScreen, Terminal, screen_here


def test_a_terminal_writes_lines_and_a_bar_and_removes_it(capsys):
    screen = Terminal()
    screen.start("Epoch 1/2", 4)
    screen.update(2, {"loss": "0.5"})
    screen.write("a line")
    screen.start("Epoch 2/2", 4)
    screen.close()
    shown = capsys.readouterr().err
    assert "Epoch 1/2:  50%" in shown
    assert "loss=0.5" in shown
    assert "a line\n" in shown
    assert "Epoch 2/2" in shown
    assert shown.endswith("\r")  # the bar is wiped


def test_a_line_needs_no_bar(capsys):
    Terminal().write("alone")
    assert capsys.readouterr().err == "alone\n"


def test_curves_in_a_terminal_are_a_line(capsys):
    history = History()
    screen = Terminal()
    screen.plot(history)
    assert capsys.readouterr().err == ""
    for epoch, loss in enumerate([3.0, 2.0, 1.0], start=1):
        history.add({"epoch": epoch, "train_loss": loss})
    screen.plot(history)
    assert "train_loss" in capsys.readouterr().err


def test_a_screen_of_another_rank_shows_nothing(capsys):
    screen = NullScreen()
    screen.start("title", 3)
    screen.update(1, {})
    screen.write("line")
    screen.epoch(EpochLine("Epoch 1/2", 1))
    screen.plot(History())
    screen.close()
    assert capsys.readouterr() == ("", "")


class Tty(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_bar_and_a_file_has_lines_unless_a_bar_is_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Tty())
    assert isinstance(screen_here(), Terminal)
    for stream in (io.StringIO(), None, object()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert isinstance(screen_here(), LogFile)
        assert isinstance(screen_here("always"), Terminal)


def test_another_text_for_log_bar_is_an_error(make):
    with pytest.raises(ValueError, match=r"never.*always"):
        make(log_bar="never")
    assert make(log_bar="always").log_bar == "always"


def test_a_file_has_lines_with_the_time_and_between_them_some_of_long_epochs(capsys, monkeypatch):
    screen = LogFile()
    screen.start("Epoch 1/2", 4)
    screen.update(2, {"loss": "0.5"})  # too early
    assert not screen.is_due()
    screen._due = 0.0
    screen.update(4, {})  # the line of the epoch follows
    screen.update(3, {"loss": "0.5"})
    screen.update(3, {"loss": "0.5"})  # too early again
    screen.write("a line")
    screen.epoch(EpochLine("Epoch 1/2", 1))
    screen.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines] == ["Epoch 1/2 | batch 3/4 | loss: 0.5", "a line", "Epoch 1/2"]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    screen.start("", None)
    screen._due = 0.0
    screen.update(3, {})
    assert capsys.readouterr().err[9:] == "batch 3\n"


def test_a_kernel_has_a_notebook(monkeypatch):
    assert not is_notebook()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert is_notebook()
    assert isinstance(screen_here(), Notebook)
