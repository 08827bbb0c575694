"""What is said when a part of zae-engine 0.7.6, or something that the part needs, is missing."""

from __future__ import annotations

import os
import sys
from types import FrameType

from . import places

INSTALL = "python -m zae_engine.legacy install"

REQUIREMENTS = {  # what modules of 0.7.6 import, and what pip calls it; versions as 0.7.6 asks for
    "PIL": "pillow",
    "fastparquet": "fastparquet",
    "gensim": "gensim",
    "matplotlib": "matplotlib",
    "nibabel": "nibabel>=5.1",
    "pandas": "pandas>=2.1",
    "rich": "rich>=13.5",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "wfdb": "wfdb>=4.1.2,<5",
}

NEEDS = {  # what has to be there for a part to be imported; single modules of a part may need more
    "utils": ("PIL", "nibabel", "wfdb"),
    "loss": ("PIL", "nibabel", "wfdb"),
    "data": ("fastparquet", "pandas", "scipy", "sklearn"),
    "examples": ("fastparquet", "pandas", "scipy", "sklearn"),
}


def no_copy(name: str) -> str:
    """Say that there is no copy of 0.7.6 for a module, ``zae_engine.models`` for instance."""
    about = f"{name} is a part of zae-engine {places.VERSION} ({places.PARTS[name.split('.')[1]]})"
    if os.environ.get(places.VARIABLE):
        text = (
            f"{about}, and {places.VARIABLE}={os.environ[places.VARIABLE]!r} names no folder with a copy of that: "
            f"correct it, or unset it and run `{INSTALL}`"
        )
    else:
        text = f"{about}, which `{INSTALL}` brings into this environment"
    remains = places.leftovers()
    if remains:
        text += (
            f"; what lies in {', '.join(remains)} is left over from another installation and is not used: "
            f"delete it, then reinstall zae-engine"
        )
    return text + "."


def not_in_copy(name: str, copy: str) -> str:
    """Say that the copy lacks a module."""
    return f"{name} is not in the copy of zae-engine {places.VERSION} in {copy}: `{INSTALL}` brings a complete one."


def needs(module: str, missing: str) -> str:
    """Say that a module of 0.7.6 needs a package that is not installed."""
    return (
        f"{module} of zae-engine {places.VERSION} needs {missing}, which is not installed: "
        f"`pip install {_requirement(missing)}` brings it."
    )


def not_importable() -> list[str]:
    """Say which parts of a copy need packages that are not installed, a sentence each."""
    from importlib.util import find_spec

    missing = {part: [name for name in names if find_spec(name) is None] for part, names in NEEDS.items()}
    return [
        f"{part} needs {', '.join(names)}, not installed here: `pip install {' '.join(map(_requirement, names))}`."
        for part, names in missing.items()
        if names
    ]


def importing() -> bool:
    """Whether the caller, a ``find_spec``, is asked by an import, and not by ``importlib.util.find_spec``.

    That one shall answer None for what is not there; an import shall say what to do. Importlib tells them apart by the
    function that called only. Where it is built in another way, the answer is False, and the hint is left out.
    """
    return _name(_caller(3)) == "_find_and_load_unlocked"


def from_import() -> bool:
    """Whether a module's ``__getattr__``, two calls up, is asked by ``from <module> import <name>``."""
    return _name(_caller(3)) == "_handle_fromlist"


def _requirement(name: str) -> str:
    """Return what to give to pip for a module, in quotes where a shell needs them."""
    requirement = REQUIREMENTS.get(name, name)
    return f'"{requirement}"' if any(sign in requirement for sign in "<>=") else requirement


def _caller(depth: int) -> FrameType | None:
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None


def _name(frame: FrameType | None) -> str:
    return frame.f_code.co_name if frame is not None else ""
