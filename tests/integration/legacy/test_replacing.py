"""One distribution name, two packages: pip puts one in place of the other, and what goes wrong there is said."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from tests.integration.legacy.conftest import ROOT, Environment

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

HINT = "`python -m zae_engine.legacy install`"
STATE = """
import importlib.metadata, importlib.util
versions = [d.version for d in importlib.metadata.distributions() if d.name == "zae-engine"]
print(versions, importlib.util.find_spec("zae_engine").origin)
"""


def files(environment: Environment) -> set[str]:
    """Return what lies in the packages of zae-engine, without what Python itself writes."""
    names = ("zae_engine", "zae_cli", "zae_lightning")
    found = (path for name in names for path in environment.packages.glob(f"{name}/**/*"))
    return {str(path.relative_to(environment.packages)) for path in found if path.is_file() and path.suffix != ".pyc"}


def files_of(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def check_that_it_is(wheel: Path, environment: Environment) -> None:
    """One distribution, and the files of its wheel, no more and no less."""
    version = wheel.name.split("-")[1]
    assert environment.code(STATE) == f"['{version}'] {environment.packages}/zae_engine/__init__.py\n"
    assert files(environment) == files_of(wheel)


def check_that_upstream_runs(environment: Environment) -> None:
    """Import the whole of 0.7.6, by its root, and nothing of ours."""
    code = """
import sys, zae_engine
from zae_engine import CNNBase, metrics, trainer
assert not hasattr(trainer, "History")
assert not {"lightning", "zae_lightning", "zae_engine.legacy"} & set(sys.modules)
"""
    environment.code(code)


def test_ours_in_place_of_upstream_and_back_and_again(fresh, ours, upstream):
    environment = fresh()
    environment.install(upstream)
    check_that_it_is(upstream, environment)

    assert "Successfully uninstalled zae-engine-0.7.6" in environment.install(ours)
    check_that_it_is(ours, environment)
    assert "zae_engine.cli" in (environment.folder / "bin" / "zae").read_text()  # the command is this version's
    assert HINT in environment.run("-c", "import zae_engine.models", check=False).stderr
    environment.legacy("install", str(upstream))

    assert "Successfully uninstalled zae-engine-1.0.0" in environment.install(upstream)
    check_that_it_is(upstream, environment)
    check_that_upstream_runs(environment)  # the copy, which is still there, is not in its way

    environment.install(ours)
    check_that_it_is(ours, environment)
    code = "import zae_engine.models as m, zae_engine.trainer as t; print(m.__file__); t.History"
    assert environment.code(code).startswith(str(environment.packages / "zae_engine_legacy"))
    environment.pip("uninstall", "-y", "zae-engine")
    assert files(environment) == set()


def test_an_editable_installation_of_ours_in_place_of_upstream_and_back(fresh, upstream):
    environment = fresh()
    environment.install(upstream)
    assert "Successfully uninstalled zae-engine-0.7.6" in environment.pip("install", "--no-deps", "-e", str(ROOT))
    assert files(environment) == set()
    assert environment.code(STATE) == f"['1.0.0'] {ROOT}/zae_engine/__init__.py\n"
    environment.legacy("install", str(upstream))
    assert (environment.packages / "zae_engine_legacy").is_dir()
    assert not (ROOT / "zae_engine_legacy").exists()
    environment.code("import zae_engine.operation")

    environment.install(upstream)
    check_that_it_is(upstream, environment)


def test_the_recipe_of_the_porting_page_ports_an_example_of_upstream(fresh, upstream):
    page = (ROOT / "docs" / "porting" / "index.md").read_text()
    [recipe] = re.findall(r"```bash\n([^`]*zae_engine.legacy install[^`]*)```", page)
    lines = [line.split("#")[0].split() for line in recipe.splitlines()]
    assert len(lines) <= 5
    environment = fresh()
    environment.install(upstream)
    for program, *arguments in lines:
        if program == "pip":
            environment.run("-m", "pip", *(str(ROOT) if word == "." else word for word in arguments))
        else:
            done = environment.run(*arguments)
    assert "# of data: 10" in done.stdout  # what the example prints
    assert "0.7.6" not in environment.code(STATE)


def test_files_that_a_user_has_left_in_upstreams_folders_are_told_of_and_not_imported(fresh, ours, upstream):
    environment = fresh()
    environment.install(upstream)
    (environment.packages / "zae_engine" / "models" / "mine.py").write_text("print('mixture')")
    environment.install(ours)
    assert environment.code(STATE) == f"['1.0.0'] {environment.packages}/zae_engine/__init__.py\n"
    done = environment.run("-c", "import zae_engine.models.mine", check=False)
    assert "mixture" not in done.stdout
    left = environment.packages / "zae_engine" / "models"
    assert HINT in done.stderr
    assert f"what lies in {left} is left over from another installation and is not used: delete it" in done.stderr
    assert f"{left} is left over" in environment.legacy("install", str(upstream)).stdout
    code = "import importlib.util; print(importlib.util.find_spec('zae_engine.models').origin)"
    assert environment.code(code).startswith(f"{environment.packages}/zae_engine_legacy")


@pytest.fixture
def mixed(fresh, ours, upstream) -> Environment:
    """Both in one folder, as nobody should, and as pip does when it is told to ignore what is installed."""
    environment = fresh()
    environment.install(upstream)
    environment.install("--ignore-installed", ours)
    return environment


def test_both_in_one_folder_are_told_apart(mixed, upstream):
    done = mixed.run("-c", "import zae_engine.models", check=False)
    assert done.returncode == 1
    assert HINT in done.stderr
    assert f"{mixed.packages}/zae_engine/models" in done.stderr
    told = mixed.legacy("status", check=False).stdout
    assert f"{mixed.packages}/zae_engine-0.7.6.dist-info is left over from another installation" in told
    assert f"{mixed.packages}/zae_engine/nn_night is left over" in told

    mixed.legacy("install", str(upstream))
    code = "import zae_engine.nn_night as n, zae_engine.trainer as t; print(n.__file__); print(t.History)"
    assert mixed.code(code).startswith(f"{mixed.packages}/zae_engine_legacy")


def test_upstream_over_ours_in_one_folder_is_upstream(fresh, ours, upstream):
    environment = fresh()
    environment.install(ours)
    environment.install("--ignore-installed", upstream)
    check_that_upstream_runs(environment)


def test_a_copy_in_another_environment_is_not_used(fresh, ours, bridged):
    environment = fresh()
    environment.install(ours)
    assert HINT in environment.run("-c", "import zae_engine.models", check=False).stderr
    variables = {"ZAE_ENGINE_LEGACY": str(bridged.packages / "zae_engine_legacy")}
    environment.code("import zae_engine.operation", variables=variables)


def test_upstream_installed_elsewhere_on_the_path_does_not_mix_in(fresh, ours, upstream, tmp_path):
    environment = fresh()
    environment.install(ours)
    environment.install("--target", tmp_path, upstream)
    with (environment.packages / "others.pth").open("a") as file:
        file.write(f"{tmp_path}\n")  # as a user's folder, behind the environment's
    assert environment.code(STATE).endswith(f"{environment.packages}/zae_engine/__init__.py\n")
    assert HINT in environment.run("-c", "import zae_engine.models", check=False).stderr
    first = {"PYTHONPATH": str(tmp_path)}  # before it: then all is upstream's
    assert environment.code(STATE, variables=first).endswith(f"{tmp_path}/zae_engine/__init__.py\n")
