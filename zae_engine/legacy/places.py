"""Places: the folders of a copy of zae-engine 0.7.6, and its misplaced files.

``import zae_engine`` imports this module, so that it imports as little as possible.
"""

from __future__ import annotations

import os

VERSION = "0.7.6"
VARIABLE = "ZAE_ENGINE_LEGACY"
FOLDER = "zae_engine_legacy"  # a name that pip and importlib.metadata do not read as a distribution
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder of ``zae_engine``

PARTS = {
    "models": "its networks",
    "nn_night": "its layers and blocks",
    "loss": "its losses",
    "data": "its datasets and collate functions",
    "operation": "its operations on sequences",
    "utils": "its decorators and sample data",
    "examples": "its examples",
}
"""The packages that are imported from the copy, and their content."""


def find() -> str | None:
    """Return the folder of the copy's ``zae_engine`` package, or None without a copy.

    If the environment variable ``ZAE_ENGINE_LEGACY`` is set, it names the folder; otherwise the folders of `homes` are
    searched. The result is not cached, so that a copy can be installed while Python runs.
    """
    given = os.environ.get(VARIABLE)
    if given:
        given = os.path.abspath(os.path.expanduser(given))
        return next((path for path in (os.path.join(given, "zae_engine"), given) if is_copy(path)), None)
    return next((path for home in homes() if is_copy(path := os.path.join(home, FOLDER, "zae_engine"))), None)


def homes() -> list[str]:
    """Return the folders that may contain a copy: site-packages, and before it the folder of an installed package."""
    import sysconfig

    parent, environment = os.path.dirname(HERE), sysconfig.get_path("purelib")
    return list(dict.fromkeys([parent, environment] if _is_installed(parent) else [environment]))


def is_copy(path: str) -> bool:
    """Whether a folder is the ``zae_engine`` package of 0.7.6 or another old version, not of this version."""
    return os.path.isfile(os.path.join(path, "models", "__init__.py")) and not os.path.isdir(
        os.path.join(path, "legacy")
    )


def leftovers() -> list[str]:
    """Return the folders and files of another zae-engine version within or next to this package.

    pip removes them when it replaces one version by the other. They remain if files were added to them, or if
    ``--target`` or ``--ignore-installed`` put two versions into one folder.
    """
    inside = [os.path.join(HERE, part) for part in PARTS]
    found = [path for path in inside if os.path.isdir(path) and any(name != "__pycache__" for name in os.listdir(path))]
    parent = os.path.dirname(HERE)
    records = [name for name in os.listdir(parent) if name.startswith("zae_engine-") and name.endswith(".dist-info")]
    if len(records) > 1:
        found += [os.path.join(parent, name) for name in records if name == f"zae_engine-{VERSION}.dist-info"]
    return found


def _is_installed(folder: str) -> bool:
    """Whether a folder contains the metadata of an installation of this package; a checkout does not."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(name.startswith("zae_engine-") and name.endswith(".dist-info") for name in names)
