"""Example: write a script that trains, validates, evaluates, predicts and saves."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

HELP = "write a script that trains a small classifier, and runs as it is"
NAME = "zae_example.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--path", help=f"the file to write, or the folder for {NAME}; by default the current folder")
    parser.add_argument("--mpu", action="store_true", help="train on all GPUs, or in two processes on the CPU")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def run(path: str | None = None, *, is_for_several_devices: bool = False, overwrites: bool = False) -> int:
    """Write the script.

    Parameters
    ----------
    path : str, optional
        The file, or a folder for a file ``zae_example.py``; by default the current folder.
    is_for_several_devices : bool
        Whether the script uses `MultiGPUAddon`.
    overwrites : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        The exit status: 1 if the file exists or cannot be written, otherwise 0.
    """
    target = Path(path or ".").expanduser()
    if target.is_dir():
        target /= NAME
    script = Path(__file__).with_name("scripts") / ("several_devices.py" if is_for_several_devices else "digits.py")
    text = script.read_text(encoding="utf-8")
    try:
        with target.open("w" if overwrites else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return _fail(f"{target} exists and is left as it is: give another --path, or --force to replace it.")
    except FileNotFoundError:
        return _fail(f"The folder {target.parent} does not exist: create it, or give another --path.")
    except OSError as error:
        return _fail(f"{target} cannot be written ({error.strerror or error}): give another --path.")
    print(f"Wrote {target}; run it with `python {shlex.quote(str(target))}`.")
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1
