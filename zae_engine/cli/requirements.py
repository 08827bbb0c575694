"""Requirements: the packages that zae-engine needs, and the versions that it supports, from its metadata."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

DISTRIBUTION = "zae-engine"
OPERATORS: dict[str, Callable[[int], bool]] = {
    ">=": lambda order: order >= 0,
    "<=": lambda order: order <= 0,
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    ">": lambda order: order > 0,
    "<": lambda order: order < 0,
}


@dataclass(frozen=True)
class Requirement:
    """A package with the versions that are supported.

    Parameters
    ----------
    name : str
        The name for pip.
    versions : str
        The range as in the metadata, ``">=2.6,<2.7"`` for instance; empty if it is unknown.
    extra : str, optional
        The extra of zae-engine that installs the package; None if zae-engine always needs it.
    """

    name: str
    versions: str
    extra: str | None = None

    @property
    def module(self) -> str:
        """The name for ``import``."""
        return self.name.replace("-", "_")

    def __str__(self) -> str:
        """Return the name and the range as pip reads them."""
        return f"{self.name}{self.versions}"


def requirements() -> list[Requirement]:
    """Return what zae-engine requires, with its extras; an empty list if its metadata cannot be found."""
    try:
        given = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    parsed = [requirement for text in given if (requirement := parse(text)) is not None]
    return [requirement for requirement in parsed if requirement.extra != "all"]


def parse(text: str) -> Requirement | None:
    """Return a requirement of the metadata, ``wandb>=0.19; extra == 'wandb'`` for instance; None for another form."""
    matched = re.fullmatch(r"\s*([\w.-]+)\s*\(?([<>=!~][^;()]*)?\)?\s*(?:;(.*))?", text)
    if matched is None:
        return None
    extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", matched[3] or "")
    bounds = [bound.strip() for bound in (matched[2] or "").split(",") if bound.strip()]
    versions = ",".join(sorted(bounds, key=lambda bound: bound.startswith("<")))  # the lower bound first
    return Requirement(matched[1], versions, extra[1] if extra else None)


def python_versions() -> str:
    """Return the range of Python versions; an empty string if the metadata cannot be found."""
    try:
        found = metadata.metadata(DISTRIBUTION).get_all("Requires-Python")
    except metadata.PackageNotFoundError:
        return ""
    return str(found[0]) if found else ""


def is_supported(version: str, versions: str) -> bool:
    """Whether a version lies in a range. Only its release counts: ``2.13.0+cpu`` is 2.13.0, and ``2.7rc1`` is 2.7."""
    for bound in filter(None, versions.split(",")):
        matched = re.fullmatch(r"\s*(>=|<=|==|!=|<|>)\s*([\d.]+)\s*", bound)
        if matched is None:
            continue  # a form that this package does not use
        release, limit = _release(version), _release(matched[2])
        width = max(len(release), len(limit))
        release, limit = (numbers + (0,) * (width - len(numbers)) for numbers in (release, limit))
        if not OPERATORS[matched[1]]((release > limit) - (release < limit)):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    matched = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in matched[1].split(".")) if matched else ()
