"""Doctor: report versions, devices, extras, loggers and leftovers, each problem with a remedy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib.util import find_spec

from zae_engine import __version__
from zae_engine.legacy import report

from . import devices, environment, loggers, packages
from .findings import Finding, show
from .imports import try_imports

HELP = "report versions, devices, extras and loggers, and what is wrong with them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--verbose", action="store_true", help="add paths and environment variables")


def run(*, is_verbose: bool = False) -> int:
    """Print the report.

    Parameters
    ----------
    is_verbose : bool
        Whether paths and environment variables are printed. API keys and tokens are shown as ``set``.

    Returns
    -------
    int
        The exit status: 0 if everything that zae-engine always needs is right, otherwise 1.
    """
    variables = dict(os.environ)  # as they are before torch adds its own
    print(f"zae-engine {__version__}", flush=True)  # the imports take seconds
    imports = try_imports([requirement.module for requirement in packages.needed()])
    errors = show("Versions", packages.versions(imports))
    errors += show("Machine", devices.machine(imports["torch"].error))
    errors += show("Extras", packages.extras(imports))
    errors += show("Loggers", loggers.loggers())
    errors += show("Parts of zae-engine 0.7.6", _legacy())
    errors += show("Leftovers of other installations", _leftovers())
    if is_verbose:
        errors += show("Paths", environment.paths())
        errors += show("Environment variables", environment.variables(variables))
    problems = "1 problem" if errors == 1 else f"{errors} problems"
    print(f"\n{problems}, marked [!!]." if errors else "\nEverything that zae-engine needs is right.")
    return 1 if errors else 0


def _legacy() -> Iterator[Finding]:
    is_whole, sentences = report.copy_in_use()
    for index, sentence in enumerate(sentences):
        yield Finding(sentence, "ok" if is_whole and index == 0 else "note")


def _leftovers() -> Iterator[Finding]:
    sentences = report.leftovers()
    if find_spec("zae_cli") is not None:  # the command of 0.7.6
        sentences.append("The package zae_cli is left over from zae-engine 0.7.6 and is not used: delete it.")
    for sentence in sentences:
        yield Finding(sentence, "note")
    if not sentences:
        yield Finding("none")
