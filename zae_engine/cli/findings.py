"""Findings: what a check of ``zae doctor`` has found, with a remedy, and how it is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "note", "error", "plain"]
MARKS: dict[Grade, str] = {"ok": "[ok]", "note": "[--]", "error": "[!!]", "plain": ""}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    text : str
        What was found, in one line.
    grade : {"ok", "note", "error", "plain"}
        A note is about something optional. An error makes the exit status 1. A plain finding is not judged.
    remedy : str, optional
        What to do.
    """

    text: str
    grade: Grade = "ok"
    remedy: str | None = None


def show(title: str, findings: Iterable[Finding]) -> int:
    """Print the findings of a section, and return how many of them are errors."""
    _print(f"\n{title}")
    errors = 0
    for finding in findings:
        _print(f"  {MARKS[finding.grade]} {finding.text}" if MARKS[finding.grade] else f"  {finding.text}")
        if finding.remedy:
            _print(f"       -> {finding.remedy}")
        errors += finding.grade == "error"
    return errors


def _print(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    print(text.encode(encoding, "replace").decode(encoding))
