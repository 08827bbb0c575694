"""The project's commands, ``nox -s <name>``; ``nox --list`` names them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "zae-engine"
PYTHON = str(ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def prepare(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project, editable, with the extras and dependency groups that a session needs.

    All sessions share one environment, which nox itself cannot do: installing torch takes minutes.
    """
    if not Path(PYTHON).exists():
        session.run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT), external=True)
    needs = nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), *groups)
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", "constraints.txt")
    session.run(*pip, "-e", f".{extras}", *needs, external=True)


def python(session: nox.Session, *arguments: str) -> None:
    """Run Python in the shared environment."""
    session.run(PYTHON, *arguments, external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Train on real data: scikit-learn's digits."""
    prepare(session, "examples")
    python(session, "examples/digits.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on two processes, the comparison with zae-engine 0.7.6 included."""
    prepare(session, "tests", extras="[wandb,neptune]")
    python(session, "-m", "pytest", "-n", "2", *session.posargs)


@nox.session
def parity(session: nox.Session) -> None:
    """Compare with zae-engine 0.7.6 only, bit for bit."""
    prepare(session, "tests", extras="[wandb,neptune]")
    python(session, "-m", "pytest", "tests/parity", "-v", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the unit and parity tests on the lowest versions that pyproject.toml allows; needs Python 3.10. By hand."""
    environment = ENVIRONMENT.parent / "lowest"
    python = str(environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    if not Path(python).exists():
        session.run("python3.10", "-m", "venv", "--clear", str(environment), external=True)
    needs = nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), "tests")
    install = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", "constraints-lowest.txt")
    session.run(*install, "-e", ".[wandb,neptune]", *needs, external=True)
    session.run(python, "-m", "pytest", "-n", "2", "tests/unit", "tests/parity", *session.posargs, external=True)


def prepare_beside(session: nox.Session, name: str, *groups: str, alone: str = "") -> str:
    """Make an environment for heavy packages, which borrows the rest from the shared one; return its Python.

    The packages of the dependency group ``alone`` are installed without what they depend on.
    """
    prepare(session, "tests", extras="[wandb,neptune]")
    environment = ENVIRONMENT.parent / name
    python = str(environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    if not Path(python).exists():
        session.run(PYTHON, "-m", "venv", "--clear", str(environment), external=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    shared, own = (
        session.run(executable, "-c", where, external=True, silent=True).strip() for executable in (PYTHON, python)
    )
    # site.addsitedir reads the .pth files there too: this project is installed editable
    (Path(own) / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    install = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", "constraints.txt")
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    session.run(*install, *nox.project.dependency_groups(project, *groups), external=True)
    if alone:
        session.run(*install, "--no-deps", *nox.project.dependency_groups(project, alone), external=True)
    return python


@nox.session
def ecosystem(session: nox.Session) -> None:
    """Run the tests with packages that are heavy: MLflow, DVCLive, torch_geometric, MONAI, Hydra and others."""
    # litdata's metadata ask for torchvision, which it imports for pictures only
    python = prepare_beside(session, "ecosystem", "ecosystem", alone="ecosystem-alone")
    tests = ("-m", "pytest", "tests/integration/lightning/ecosystem", *session.posargs)
    session.run(python, *tests, external=True, env={"ZAE_ENGINE_ECOSYSTEM": "1"})


@nox.session
def ray(session: nox.Session) -> None:
    """Run the tests with Ray Train, Ray Data and Ray Tune: worker groups of two on this machine."""
    python = prepare_beside(session, "ray", "ray")
    tests = ("-m", "pytest", "tests/integration/with_ray", *session.posargs)
    session.run(python, *tests, external=True, env={"ZAE_ENGINE_RAY": "1"})


@nox.session
def elastic(session: nox.Session) -> None:
    """Restart a training under torchrun: exceptions, signals, nodes that come and go, and 20 runs of random kills."""
    prepare(session, "tests")
    tests = ("-m", "pytest", "tests/integration/distributed/test_elastic.py", *session.posargs)
    session.run(PYTHON, *tests, external=True, env={"ZAE_ENGINE_ELASTIC": "1"})
    python(session, "-m", "tests.integration.distributed.kill_under_torchrun", "20")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    prepare(session, "lint")
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly: those of the packages with mypy, those of typed usage with mypy and pyright."""
    prepare(session, "types")
    python(session, "-m", "mypy")
    python(session, "tests/unit/typing/check.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/docs, check its links and its search; ``-- --serve`` shows it."""
    prepare(session, "docs", extras="[notebook]")
    site = "build/docs"
    python(session, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", "build/doctrees", "docs", site)
    python(session, "docs/check_links.py", site)
    python(session, "docs/check_search.py", site)
    if "--serve" in session.posargs:
        python(session, "-m", "http.server", "--bind", "127.0.0.1", "--directory", site)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure steps, memory and start-up beside the raw loop, Lightning, 0.7.6, Accelerate, skorch and ignite."""
    prepare(session, "tests", "bench")
    python(session, "-m", "tests.benchmarks", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """Kill a run while it saves, 200 times by default, and recover each time."""
    prepare(session, "tests", extras="[wandb,neptune]")
    python(session, "-m", "tests.integration.crash_safety.kill_during_save", *session.posargs)


@nox.session
def scaling(session: nox.Session) -> None:
    """Measure what a second process gives and costs."""
    prepare(session, "tests", extras="[wandb,neptune]")
    python(session, "-m", "tests.benchmarks.scaling", *session.posargs)
