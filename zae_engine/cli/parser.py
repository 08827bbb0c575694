"""Parser: `argparse.ArgumentParser` whose error names the command that is nearest to an unknown one."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser; its subparsers are of this class too."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, with the nearest name if the message lists names, and exit with 2."""
        listed = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        if listed:
            given, names = listed[1], re.findall(r"[\w-]+", listed[2])
            nearest = difflib.get_close_matches(given.lower(), names, n=1)
            message += f": did you mean {nearest[0]}?" if nearest else ""
        super().error(message)
