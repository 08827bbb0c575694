"""Command: ``python -m zae_engine.legacy install | status | remove``."""

from __future__ import annotations

import argparse
import os
import sys

from . import fetch, places, report


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : list of str, optional
        The arguments; by default those of this process.

    Returns
    -------
    int
        The exit status: 1 if something failed, or if `status` finds no complete copy; otherwise 0.
    """
    parser = argparse.ArgumentParser(prog="python -m zae_engine.legacy")
    add_commands(parser)
    return run(parser.parse_args(arguments))


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the description and the commands to a parser, whose result `run` takes."""
    parser.description = (
        f"The parts of zae-engine {places.VERSION} that this version takes from a copy of it: "
        f"{', '.join(places.PARTS)}."
    )
    parser.epilog = f"The environment variable {places.VARIABLE} names a folder with another copy."
    commands = parser.add_subparsers(dest="legacy_command", metavar="command", required=True)
    install = commands.add_parser("install", help="fetch the copy into this environment, next to the package")
    install.add_argument("wheel", nargs="?", help=f"the path of a downloaded {fetch.WHEEL}")
    commands.add_parser("status", help="report which copy is in use, and what is wrong with it")
    commands.add_parser("remove", help="delete the copy that install has created")


def run(chosen: argparse.Namespace) -> int:
    """Run a command whose arguments are parsed, and return its exit status."""
    try:
        if chosen.legacy_command == "install":
            return _install(chosen.wheel)
        return _status() if chosen.legacy_command == "status" else _remove()
    except fetch.LegacyError as error:
        print(error, file=sys.stderr)
        return 1


def _install(wheel: str | None) -> int:
    print(f"zae-engine {places.VERSION} is in {fetch.install(wheel)}.")
    return _status()


def _remove() -> int:
    removed = fetch.remove()
    for folder in removed:
        print(f"Deleted {folder}.")
    if not removed:
        print("There is no copy to delete.")
    if os.environ.get(places.VARIABLE):
        print(f"{places.VARIABLE}={os.environ[places.VARIABLE]!r} is yours and stays.")
    return 0


def _status() -> int:
    is_whole, sentences = report.copy_in_use()
    for sentence in sentences + report.leftovers():
        print(sentence)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
