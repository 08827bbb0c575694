"""Tree: the modules of the package, each with the first line of its docstring."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HELP = "print the modules of zae_engine as a tree, each with its job"
UNICODE = ("├── ", "└── ", "│   ", "    ")
ASCII = ("|-- ", "`-- ", "|   ", "    ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run() -> int:
    """Print the tree; return 0."""
    root = Path(__file__).parents[1]
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "".join(UNICODE).encode(encoding)
        branches = UNICODE
    except UnicodeEncodeError:
        branches = ASCII
    for line in [_labelled(root.name, root / "__init__.py"), *lines(root, branches)]:
        print(line.encode(encoding, "replace").decode(encoding))
    return 0


def lines(folder: Path, branches: tuple[str, str, str, str] = UNICODE, indent: str = "") -> Iterator[str]:
    """Yield the lines of the modules in a folder: files first, then packages, each sorted by name.

    Parameters
    ----------
    folder : Path
        The folder of a package.
    branches : tuple of str
        What precedes a module, the last module of a folder, the modules below either.
    indent : str
        What precedes every line.
    """
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    folders = sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file())
    entries = [*files, *folders]
    for entry in entries:
        is_last = entry is entries[-1]
        is_package = entry.is_dir()
        label = _labelled(entry.name, entry / "__init__.py" if is_package else entry)
        yield f"{indent}{branches[is_last]}{label}"
        if is_package:
            yield from lines(entry, branches, indent + branches[2 + is_last])


def first_line(file: Path) -> str:
    """Return the first line of a module's docstring; an empty string without one, or if the file is no Python."""
    try:
        docstring = ast.get_docstring(ast.parse(file.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return ""
    return docstring.splitlines()[0] if docstring else ""


def _labelled(name: str, file: Path) -> str:
    job = first_line(file)
    return f"{name}  {job}" if job else name
