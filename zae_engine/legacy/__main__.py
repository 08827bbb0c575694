"""Command: ``python -m zae_engine.legacy install | status | remove``."""

from __future__ import annotations

import argparse
import os
import sys

from . import fetch, hints, places


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
    parser = argparse.ArgumentParser(
        prog="python -m zae_engine.legacy",
        description=f"The parts of zae-engine {places.VERSION} that this version takes from a copy of it: "
        f"{', '.join(places.PARTS)}.",
        epilog=f"The environment variable {places.VARIABLE} names a folder with another copy.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="fetch the copy into this environment, next to the package")
    install.add_argument("wheel", nargs="?", help=f"the path of a downloaded {fetch.WHEEL}")
    commands.add_parser("status", help="report which copy is in use, and what is wrong with it")
    commands.add_parser("remove", help="delete the copy that install has created")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "install":
            return _install(chosen.wheel)
        return _status() if chosen.command == "status" else _remove()
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
    given, found = os.environ.get(places.VARIABLE), places.find()
    if given and found is None:
        print(f"{places.VARIABLE}={given!r} names no folder with a copy of zae-engine {places.VERSION}.")
    elif found is None:
        print(f"There is no copy of zae-engine {places.VERSION}; `{hints.INSTALL}` fetches it.")
    else:
        by = f", by {places.VARIABLE}" if given else ""
        print(f"zae-engine {places.VERSION}: {', '.join(places.PARTS)} come from {found}{by}.")
        if not given and not fetch.is_whole(os.path.dirname(found)):
            print(f"Files of it are missing or have been changed; `{hints.INSTALL}` replaces it.")
            found = None
        for sentence in hints.not_importable():
            print(sentence)
    for path in places.leftovers():
        print(
            f"{path} is left over from another installation and is not used: delete it and reinstall zae-engine, "
            f"or other programs may take it for a part of this version."
        )
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
