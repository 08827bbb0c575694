"""Fetching zae-engine 0.7.6 and importing its trainer beside ours, never in the same process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
import zipfile
from pathlib import Path

VERSION = "0.7.6"
WHEEL = f"zae_engine-{VERSION}-py3-none-any.whl"
SHA256 = "50f642ded42196041bfcaaeacf5698109f7cb0e080096e0d02f0a7440e33deef"
CACHE = Path(__file__).parents[2] / ".cache" / "oracle"


def fetch() -> Path:
    """Return the folder with upstream's packages, downloading them on the first call."""
    unpacked = CACHE / f"zae_engine-{VERSION}"
    if not (unpacked / "zae_engine").exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
        subprocess.run([*command, "-d", str(CACHE), f"zae-engine=={VERSION}"], check=True)
        digest = hashlib.sha256((CACHE / WHEEL).read_bytes()).hexdigest()
        if digest != SHA256:
            raise RuntimeError(f"{CACHE / WHEEL} has the checksum {digest}, not {SHA256}: it is not the reference.")
        with zipfile.ZipFile(CACHE / WHEEL) as wheel:
            wheel.extractall(unpacked)
    return unpacked


def install(folder: Path) -> None:
    """Make ``import zae_engine.trainer`` give upstream's, in this process.

    Upstream's root ``__init__`` imports the whole model zoo, so an empty package takes its place.
    """
    package = types.ModuleType("zae_engine")
    package.__path__ = [str(folder / "zae_engine")]
    sys.modules["zae_engine"] = package
