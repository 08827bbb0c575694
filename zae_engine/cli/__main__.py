"""Command: ``zae doctor | example | tree | hello | legacy``."""

from __future__ import annotations

import argparse
import os
import sys

from zae_engine import __version__
from zae_engine.legacy import __main__ as legacy

from . import doctor, example, hello, tree
from .parser import Parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : list of str, optional
        The arguments; by default those of this process.

    Returns
    -------
    int
        The exit status: 0 if the command has succeeded, 1 if it has failed, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, with status 0 after ``--help`` and ``--version``.
    """
    parser = _build_parser()
    chosen = parser.parse_args(arguments)
    try:
        status = _run(chosen, parser)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for instance, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 1
    return status


def _build_parser() -> Parser:
    parser = Parser(prog="zae", description="Commands of zae-engine.")
    parser.add_argument("--version", action="version", version=f"zae-engine {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for module, name in ((doctor, "doctor"), (example, "example"), (tree, "tree"), (hello, "hello")):
        command = commands.add_parser(name, help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}.")
        module.add_arguments(command)
    legacy.add_commands(commands.add_parser("legacy", help="install, check or remove the copy of zae-engine 0.7.6"))
    return parser


def _run(chosen: argparse.Namespace, parser: Parser) -> int:
    if chosen.command is None:
        parser.print_help()
        return 0
    if chosen.command == "doctor":
        return doctor.run(is_verbose=chosen.verbose)
    if chosen.command == "example":
        return example.run(chosen.path, is_for_several_devices=chosen.mpu, overwrites=chosen.force)
    if chosen.command == "legacy":
        return legacy.run(chosen)
    return tree.run() if chosen.command == "tree" else hello.run()


if __name__ == "__main__":
    sys.exit(main())
