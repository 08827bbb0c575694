"""Where a copy of zae-engine 0.7.6 may lie, and what of 0.7.6 lies where it should not.

This is read whenever ``zae_engine`` is imported, so it imports next to nothing.
"""

from __future__ import annotations

import os

VERSION = "0.7.6"
VARIABLE = "ZAE_ENGINE_LEGACY"
FOLDER = "zae_engine_legacy"  # no name that pip or importlib.metadata would take for a distribution
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder of ``zae_engine`` itself

PARTS = {
    "models": "its networks",
    "nn_night": "its layers and blocks",
    "loss": "its losses",
    "data": "its datasets and collate functions",
    "operation": "its operations on sequences",
    "utils": "its decorators and sample data",
    "examples": "its examples",
}
"""The packages that come from the copy, and what they are."""


def find() -> str | None:
    """Return the folder of the copy's ``zae_engine`` package, or None if there is no copy.

    The environment variable ``ZAE_ENGINE_LEGACY`` decides if it is set; else the folders of `homes` are searched. This
    is done anew each time, so that a copy can be installed while Python runs.
    """
    given = os.environ.get(VARIABLE)
    if given:
        given = os.path.abspath(os.path.expanduser(given))
        return next((path for path in (os.path.join(given, "zae_engine"), given) if is_copy(path)), None)
    return next((path for home in homes() if is_copy(path := os.path.join(home, FOLDER, "zae_engine"))), None)


def homes() -> list[str]:
    """Return the folders in which the copy's folder may lie: the package's if it is installed, the environment's."""
    import sysconfig

    beside, environment = os.path.dirname(HERE), sysconfig.get_path("purelib")
    return list(dict.fromkeys([beside, environment] if _is_installed(beside) else [environment]))


def is_copy(path: str) -> bool:
    """Whether a folder is the ``zae_engine`` package of 0.7.6 or another old version, and not this one."""
    return os.path.isfile(os.path.join(path, "models", "__init__.py")) and not os.path.isdir(
        os.path.join(path, "legacy")
    )


def leftovers() -> list[str]:
    """Return folders and files of another zae-engine that lie in or beside this package and could be mixed up with it.

    pip takes them away when it replaces one version by the other. They stay if files were added to them, or where two
    versions were put into one folder by ``--target`` or ``--ignore-installed``.
    """
    inside = [os.path.join(HERE, part) for part in PARTS]
    found = [path for path in inside if os.path.isdir(path) and any(name != "__pycache__" for name in os.listdir(path))]
    beside = os.path.dirname(HERE)
    records = [name for name in os.listdir(beside) if name.startswith("zae_engine-") and name.endswith(".dist-info")]
    if len(records) > 1:
        found += [os.path.join(beside, name) for name in records if name == f"zae_engine-{VERSION}.dist-info"]
    return found


def _is_installed(folder: str) -> bool:
    """Whether a folder holds the record of an installation of this package; a checkout does not."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(name.startswith("zae_engine-") and name.endswith(".dist-info") for name in names)
