"""Hints: messages for missing parts of zae-engine 0.7.6 and for missing packages that the parts need."""

from __future__ import annotations

import os
import sys
from types import FrameType

from . import places

INSTALL = "python -m zae_engine.legacy install"

REQUIREMENTS = {  # the modules that 0.7.6 imports, and their names for pip with the versions that 0.7.6 requires
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

NEEDS = {  # the modules that an import of a part requires; single modules of a part may need more
    "utils": ("PIL", "nibabel", "wfdb"),
    "loss": ("PIL", "nibabel", "wfdb"),
    "data": ("fastparquet", "pandas", "scipy", "sklearn"),
    "examples": ("fastparquet", "pandas", "scipy", "sklearn"),
}


def no_copy(name: str) -> str:
    """Return the message for a module, ``zae_engine.models`` for instance, if no copy of 0.7.6 is installed."""
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
    """Return the message for a module that the copy lacks."""
    return f"{name} is not in the copy of zae-engine {places.VERSION} in {copy}: `{INSTALL}` brings a complete one."


def needs(module: str, missing: str) -> str:
    """Return the message for a module of 0.7.6 that needs a package which is not installed."""
    return (
        f"{module} of zae-engine {places.VERSION} needs {missing}, which is not installed: "
        f"`pip install {_requirement(missing)}` brings it."
    )


def not_importable() -> list[str]:
    """Return a sentence for each part of the copy that needs packages which are not installed."""
    from importlib.util import find_spec

    missing = {part: [name for name in names if find_spec(name) is None] for part, names in NEEDS.items()}
    return [
        f"{part} needs {', '.join(names)}, not installed here: `pip install {' '.join(map(_requirement, names))}`."
        for part, names in missing.items()
        if names
    ]


def importing() -> bool:
    """Whether an import calls the caller, a ``find_spec``, and not ``importlib.util.find_spec``.

    ``importlib.util.find_spec`` has to return None for a missing module, while an import raises an error with a hint.
    The two differ only in the calling function. With another implementation of importlib the result is False, and the
    hint is left out.
    """
    return _name(_caller(3)) == "_find_and_load_unlocked"


def from_import() -> bool:
    """Whether ``from <module> import <name>`` calls the module's ``__getattr__``, two frames above this function."""
    return _name(_caller(3)) == "_handle_fromlist"


def _requirement(name: str) -> str:
    """Return the requirement for pip that provides a module, quoted for a shell if needed."""
    requirement = REQUIREMENTS.get(name, name)
    return f'"{requirement}"' if any(sign in requirement for sign in "<>=") else requirement


def _caller(depth: int) -> FrameType | None:
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None


def _name(frame: FrameType | None) -> str:
    return frame.f_code.co_name if frame is not None else ""
