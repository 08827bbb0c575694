"""The site's tables of Lightning's callbacks and arguments, made from the tests that show each row.

``python -m tests.integration.lightning.table`` writes them into the page; `test_table.py` fails where the page
differs, or where a callback or an argument of the installed Lightning has no test.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch import callbacks

PAGE = Path(__file__).parents[3] / "docs" / "lightning" / "tables.md"
MODULES = ("test_callbacks", "test_arguments")
BEGIN, END = "<!-- table of Lightning's parts: begin -->", "<!-- table of Lightning's parts: end -->"


def shows(*names: str, note: str = "works") -> Callable[[Any], Any]:
    """Mark a test as the one that shows that callbacks or arguments work, or with which restriction."""

    def mark(test: Any) -> Any:
        test.shows = [*getattr(test, "shows", []), *((name, note) for name in names)]
        return test

    return mark


def rows(module: str) -> dict[str, str]:
    """Return what the tests of a module show, by name."""
    tests = importlib.import_module(f"tests.integration.lightning.{module}")
    return {name: note for test in vars(tests).values() for name, note in getattr(test, "shows", [])}


def expected() -> dict[str, set[str]]:
    """Return what the installed Lightning has, by module of tests."""
    base = {"BaseFinetuning", "Callback", "Checkpoint", "ProgressBar"}  # to be subclassed
    arguments = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    return {"test_callbacks": set(callbacks.__all__) - base, "test_arguments": arguments}


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| Lightning's callback | |", "|---|---|"]
    lines += [f"| `{name}` | {note} |" for name, note in sorted(rows("test_callbacks").items())]
    lines += ["", "| Lightning's argument, in `lightning={...}` | |", "|---|---|"]
    lines += [f"| `{name}` | {note} |" for name, note in sorted(rows("test_arguments").items())]
    return "\n".join(lines)


def in_page() -> str:
    """Return the tables that the page has."""
    return re.search(f"{re.escape(BEGIN)}\n\n(.*?)\n\n{re.escape(END)}", PAGE.read_text(), re.DOTALL)[1]


def main() -> None:
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    main()
