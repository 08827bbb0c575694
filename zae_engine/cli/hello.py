"""Greeting: what ``zae hello`` prints."""

from __future__ import annotations

import argparse

from zae_engine import __version__

HELP = "print a greeting with the version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run() -> int:
    """Print the line of 0.7.6 and the version; return 0."""
    print("My name is zae-park")
    print(f"This is zae-engine {__version__}")
    return 0
