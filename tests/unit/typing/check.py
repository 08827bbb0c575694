"""Check of types: mypy and pyright find the errors that ``usage.py`` marks, and no other; ``nox -s types`` runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
USAGE = Path(__file__).with_name("usage.py")
Found = set[tuple[int, str]]


def marked(tool: int) -> Found:
    """Return the lines that are errors, with the rule of a tool: 1 for mypy, 2 for pyright."""
    marks = enumerate(re.findall(r"^.*?(?:# wrong: ([\w-]+), (\w+))?$", USAGE.read_text(), re.MULTILINE), 1)
    return {(line, rules[tool - 1]) for line, rules in marks if rules[0]}


def mypy() -> Found:
    """Return what mypy reports, with the project's own settings, which are strict."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary", str(USAGE)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    errors = [re.fullmatch(r"(.+?):(\d+): error: .*\[([\w-]+)\]", line) for line in output.splitlines()]
    elsewhere = [error[0] for error in errors if error and Path(error[1]).name != USAGE.name]
    assert not elsewhere, "\n".join(elsewhere)
    return {(int(error[2]), error[3]) for error in errors if error}


def pyright() -> Found:
    """Return what pyright reports in its standard mode."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(USAGE)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    report = json.loads(output)
    assert report["summary"]["filesAnalyzed"] == 1, report
    errors = [d for d in report["generalDiagnostics"] if d["severity"] in ("error", "warning")]
    return {(error["range"]["start"]["line"] + 1, error.get("rule", error["message"])) for error in errors}


def main() -> int:
    """Compare each tool's errors with the marks; print what differs, and return 1 if something does."""
    lines, failed = USAGE.read_text().splitlines(), False
    for number, tool in enumerate((mypy, pyright), 1):
        found, expected = tool(), marked(number)
        assert expected
        for word, difference in (("reports", found - expected), ("does not report", expected - found)):
            for line, rule in sorted(difference):
                failed = True
                print(f"{tool.__name__} {word} {rule} in {USAGE.relative_to(ROOT)}:{line}: {lines[line - 1].strip()}")
        others = len(found - expected)
        print(f"{tool.__name__} reports {len(found & expected)} of {len(expected)} marked errors, and {others} others")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
