"""Screens: what a terminal shows, and which screen a process has."""

from __future__ import annotations

import sys
import types

from zae_engine.trainer import History
from zae_engine.trainer.display.notebook import Notebook, is_notebook
from zae_engine.trainer.display.screens import NullScreen, Terminal, screen_here


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
    screen.plot(History())
    screen.close()
    assert capsys.readouterr() == ("", "")


def test_a_kernel_has_a_notebook_and_a_script_a_terminal(monkeypatch):
    assert isinstance(screen_here(), Terminal)
    assert not is_notebook()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert is_notebook()
    assert isinstance(screen_here(), Notebook)
