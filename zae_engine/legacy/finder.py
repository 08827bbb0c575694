"""Finder: import ``zae_engine.models`` and the other packages of 0.7.6 from a copy of zae-engine 0.7.6."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from . import hints, places

PACKAGE = __name__.partition(".")[0]


class LegacyFinder:
    """A finder for `sys.meta_path` that finds the packages of 0.7.6 which this package lacks.

    It precedes Python's own finder, so that files of 0.7.6 which a failed uninstallation has left within this package
    are never imported. It passes all other work, reading files and resources included, to Python's finder and loader.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module; see `importlib.abc.MetaPathFinder.find_spec`.

        Raises
        ------
        ModuleNotFoundError
            If the module is imported and no copy of 0.7.6 is installed. The message says which command installs it.
        """
        root, _, rest = fullname.partition(".")
        part, _, below = rest.partition(".")
        if root != PACKAGE or part not in places.PARTS:
            return None
        if not below:
            copy = places.find()
            if copy is None:
                if hints.importing():
                    raise ModuleNotFoundError(hints.no_copy(fullname), name=fullname)
                return None
            path = [copy]
        spec = PathFinder.find_spec(fullname, path, target)
        if not below and (spec is None or spec.loader is None):
            if hints.importing():
                raise ModuleNotFoundError(hints.not_in_copy(fullname, os.path.dirname(copy or "")), name=fullname)
            return None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = LegacyLoader(spec.loader.name, spec.loader.path)
        return spec


class LegacyLoader(SourceFileLoader):
    """Python's loader, with another error message if a package that the module needs is not installed."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module.

        Raises
        ------
        ModuleNotFoundError
            If the module imports a package that is not installed. The message names the module, the package, and the
            command that installs it.
        """
        try:
            super().exec_module(module)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if not missing or missing == PACKAGE or error.__cause__ is not None:  # a nested module has raised it
                raise
            raise ModuleNotFoundError(hints.needs(self.name, missing), name=error.name) from error


def install() -> None:
    """Insert the finder into `sys.meta_path`, and replace the one that an earlier import of the package inserted."""
    name = LegacyFinder.__name__
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != name]
    sys.meta_path.insert(0, LegacyFinder())
