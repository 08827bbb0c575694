"""The documentation's page of what Lightning's parts do with a zae-engine trainer, a row for each situation.

``python -m tests.integration.lightning.conformance.table`` writes it; `test_table.py` fails where the page differs.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from .situations import all_situations

PAGE = Path(__file__).parents[4] / "docs" / "lightning-situations.md"
INTRODUCTION = """\
# Lightning's parts: what is tested

Each row is a test, `tests/integration/lightning/conformance`. It trains a zae-engine trainer and an equivalent
hand-written `LightningModule` with the same parts, and compares what is observed: weights, rates, metrics at each hook,
files, logged rows, the order of hooks. The trainer trains in `trainer.run` (first column), and as
`trainer.lightning_module` in an `L.Trainer` (second column). An empty cell: the situation does not exist there.

This page is made from the tests: `python -m tests.integration.lightning.conformance.table`.
"""


def page() -> str:
    """Return the page as Markdown, a section for each kind of situation."""
    lines = [INTRODUCTION]
    in_order = sorted(all_situations().values(), key=lambda situation: situation.kind)
    for kind, situations in groupby(in_order, key=lambda situation: situation.kind):
        lines += [f"## {kind.replace('_', ' ').capitalize()}", "", "| | `run` | own `L.Trainer` |", "|---|---|---|"]
        for situation in situations:
            result = "known difference" if situation.is_known_difference else "equal"
            cells = [result if way in situation.ways else "" for way in ("run", "own_trainer")]
            lines.append(f"| {situation.text} | {cells[0]} | {cells[1]} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
