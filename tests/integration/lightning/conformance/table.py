"""The documentation's table of what Lightning's parts do with a zae-engine trainer, a row for each situation.

``python -m tests.integration.lightning.conformance.table`` prints it.
"""

from __future__ import annotations

from itertools import groupby

from .situations import all_situations


def table() -> str:
    """Return the table as Markdown, a section for each kind."""
    lines: list[str] = []
    in_order = sorted(all_situations().values(), key=lambda situation: situation.kind)
    for kind, situations in groupby(in_order, key=lambda situation: situation.kind):
        title = kind.replace("_", " ").capitalize()
        lines += ["", f"| {title} | `run` | own `L.Trainer` |", "|---|---|---|"]
        for situation in situations:
            cells = ["works" if way in situation.ways else "" for way in ("run", "own_trainer")]
            lines.append(f"| {situation.text} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    print(table())
