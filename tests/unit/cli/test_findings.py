"""A finding is a line with a mark, and its remedy beneath."""

from __future__ import annotations

import io
import sys

from zae_engine.cli.findings import Finding, show


def test_findings_are_marked_and_errors_are_counted(capsys):
    findings = [Finding("right"), Finding("optional", "note", "do this"), Finding("wrong", "error", "do that")]
    assert show("Title", [*findings, Finding("A=1", "plain")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "  [ok] right",
        "  [--] optional",
        "       -> do this",
        "  [!!] wrong",
        "       -> do that",
        "  A=1",
    ]


def test_letters_that_the_terminal_lacks_are_replaced(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    show("Title", [Finding("/home/박")])
    output.seek(0)
    assert "/home/?" in output.read()
