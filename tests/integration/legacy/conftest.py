"""Fresh environments that have everything the tests have, but for zae-engine and what no test may count on."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity import reference

ROOT = Path(__file__).parents[3]
ABSENT = ("zae_engine", "zae-engine", "_editable_impl_zae", "transformers", "torchvision")


class Environment:
    """A virtual environment of its own; packages of the tests' environment can be imported in it, but not changed."""

    def __init__(self, folder: Path, others: Path) -> None:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        self.python_path = folder / "bin" / "python"
        [self.packages] = folder.glob("lib/python*/site-packages")
        (self.packages / "others.pth").write_text(f"{others}\n")
        self.folder = folder

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python, away from the checkout."""
        unwanted = {"PYTHONPATH", "ZAE_ENGINE_LEGACY", "PYTHONDONTWRITEBYTECODE"}
        variables = {name: value for name, value in os.environ.items() if name not in unwanted}
        variables |= {"PYTHONNOUSERSITE": "1", **options.pop("variables", {})}
        command = [str(self.python_path), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False, timeout=300, **options
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def code(self, text: str, **options: Any) -> str:
        """Run some lines and return what they print."""
        return self.run("-c", text, **options).stdout

    def pip(self, *arguments: str) -> str:
        done = self.run("-m", "pip", "--disable-pip-version-check", *arguments)
        return done.stdout + done.stderr

    def install(self, *arguments: str | Path) -> str:
        return self.pip("install", "--no-deps", "--no-index", *map(str, arguments))

    def legacy(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "zae_engine.legacy", *arguments, **options)


def link_others(folder: Path, *absent: str) -> Path:
    """Fill a folder with links to what is installed where the tests run, but for some packages."""
    for entry in map(Path, sys.path):
        if not any(entry.glob("*.dist-info")):
            continue
        for path in entry.iterdir():
            link = folder / path.name
            if not path.name.startswith((*ABSENT, *absent)) and path.suffix != ".pth" and not link.is_symlink():
                link.symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link_others(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, others: Path) -> Callable[[], Environment]:
    return lambda: Environment(tmp_path_factory.mktemp("environment") / "env", others)


@pytest.fixture(scope="session")
def upstream() -> Path:
    """The wheel of 0.7.6."""
    reference.fetch()
    if not (reference.CACHE / reference.WHEEL).exists():  # unpacked by an earlier version of the tests
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(reference.CACHE)]
        subprocess.run([*command, f"zae-engine=={reference.VERSION}"], check=True)
    return reference.CACHE / reference.WHEEL


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this package, as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def bare(fresh: Callable[[], Environment], ours: Path) -> Environment:
    """An environment with this package and without a copy of 0.7.6; not to be changed."""
    environment = fresh()
    environment.install(ours)
    return environment


@pytest.fixture(scope="session")
def bridged(fresh: Callable[[], Environment], ours: Path, upstream: Path) -> Environment:
    """An environment with this package and a copy of 0.7.6; not to be changed."""
    environment = fresh()
    environment.install(ours)
    environment.legacy("install", str(upstream))
    return environment
