"""Packages: which are installed, in which version, and whether they can be imported."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata

import zae_engine

from . import requirements
from .findings import Finding, Grade
from .imports import Import
from .requirements import Requirement

FIRST = ("torch", "lightning", "torchmetrics", "numpy", "wandb", "neptune")
"""The packages at the top of the report; the first four are also checked if the metadata of zae-engine is missing."""


def needed() -> list[Requirement]:
    """Return the packages that zae-engine always needs, and those of its extras, in the order of the report."""
    given = requirements.requirements() or [Requirement(name, "") for name in FIRST[:4]]
    return sorted(given, key=_position)


def versions(imports: Mapping[str, Import]) -> Iterator[Finding]:
    """Yield a finding for Python, zae-engine, and each package that zae-engine always needs.

    Parameters
    ----------
    imports : mapping of str to Import
        What the import of each module came to.
    """
    yield _python()
    yield _zae_engine()
    for requirement in needed():
        if requirement.extra is None:
            yield _finding(requirement, imports[requirement.module])


def extras(imports: Mapping[str, Import]) -> Iterator[Finding]:
    """Yield a finding for each package of the extras; the parameter is that of `versions`."""
    for requirement in needed():
        if requirement.extra is not None:
            yield _finding(requirement, imports[requirement.module])


def _finding(requirement: Requirement, imported: Import) -> Finding:
    grade: Grade = "error" if requirement.extra is None else "note"
    name = f"{requirement.name:<20}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if imported.is_missing:
            return Finding(f"{name}missing", grade, _installation(requirement))
        version = imported.version or "of unknown version"
    if imported.error is not None:
        again = f'pip install --force-reinstall "{requirement}"'
        return Finding(f"{name}{version} cannot be imported: {imported.error}", grade, again)
    if not requirements.is_supported(version, requirement.versions):
        text = f"{name}{version} is outside the supported versions {requirement.versions}"
        return Finding(text, grade, f'pip install "{requirement}"')
    return Finding(f"{name}{version}{_bracketed(requirement.versions)}")


def _installation(requirement: Requirement) -> str:
    if requirement.extra is None:
        return f'pip install "{requirement}"'
    return f'pip install "{requirements.DISTRIBUTION}[{requirement.extra}]"'


def _python() -> Finding:
    version, supported = platform.python_version(), requirements.python_versions()
    if not requirements.is_supported(version, supported):
        remedy = f"make an environment with Python {supported} and install zae-engine there"
        return Finding(f"{'Python':<20}{version} is outside the supported versions {supported}", "error", remedy)
    return Finding(f"{'Python':<20}{version}{_bracketed(supported)}")


def _zae_engine() -> Finding:
    name, version = f"{'zae-engine':<20}", zae_engine.__version__
    try:
        recorded = metadata.version(requirements.DISTRIBUTION)
    except metadata.PackageNotFoundError:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(zae_engine.__file__)))
        text = f"{name}{version} runs from {folder} and is not installed: supported versions are unknown"
        return Finding(text, "note", f'pip install "{folder}"')
    if recorded != version:
        text = f"{name}{version} is imported, but {recorded} is installed"
        return Finding(text, "error", "run `pip uninstall zae-engine` until none is left, then install it again")
    return Finding(f"{name}{version}")


def _bracketed(versions: str) -> str:
    return f"  ({versions})" if versions else ""


def _position(requirement: Requirement) -> tuple[int, str]:
    return FIRST.index(requirement.name) if requirement.name in FIRST else len(FIRST), requirement.name
