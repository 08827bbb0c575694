"""Imports: whether packages can be imported, tried in a child process, which a broken package may crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

CHILD = """
import importlib, json, sys, warnings
answers, sys.stdout = sys.stdout, sys.stderr
warnings.simplefilter("ignore")
sys.path[:] = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    try:
        version = getattr(importlib.import_module(name), "__version__", None)
        answer = {"version": version if version is None else str(version)}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}", "missing": getattr(error, "name", None) == name}
    print(json.dumps(answer), file=answers, flush=True)
"""
LONGEST = 160


class Import:
    """What an import came to.

    Parameters
    ----------
    error : str, optional
        The exception or the end of the process in one line; None if the import succeeds.
    version : str, optional
        The ``__version__`` of the module.
    is_missing : bool
        Whether there is no module of this name.
    """

    def __init__(self, error: str | None = None, version: str | None = None, *, is_missing: bool = False) -> None:
        self.error, self.version, self.is_missing = error, version, is_missing


def try_imports(modules: Sequence[str]) -> dict[str, Import]:
    """Import modules one after another without output, and return what each import came to.

    A module that ends the process costs a new process for the modules after it.

    Parameters
    ----------
    modules : sequence of str
        The names of the modules.

    Returns
    -------
    dict of str to Import
        The result for each module.
    """
    results: dict[str, Import] = {}
    while left := [name for name in modules if name not in results]:
        command = [sys.executable, "-c", CHILD, json.dumps(sys.path), *left]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        for name, answer in zip(left, answers, strict=False):
            error = answer.get("error")
            is_missing = answer.get("missing", False)
            results[name] = Import(error and one_line(error), answer.get("version"), is_missing=is_missing)
        if len(answers) < len(left):
            results[left[len(answers)]] = Import(f"the import ends Python{_reason(done.returncode)}")
    return results


def one_line(text: str) -> str:
    """Return a text as one line of limited length."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _reason(status: int) -> str:
    if status >= 0:
        return f" with status {status}"
    try:
        return f" by {signal.Signals(-status).name}"
    except ValueError:
        return f" by signal {-status}"
