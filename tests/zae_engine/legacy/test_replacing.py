"""One distribution name, two packages: pip puts one in place of the other, and what goes wrong there is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.zae_engine.legacy.conftest import ROOT, Environment

VERSIONS = "import importlib.metadata as m; print([d.version for d in m.distributions() if d.name == 'zae-engine'])"
TRAINER = "import zae_engine.trainer as t; print(t.__file__, hasattr(t, 'History'))"
HINT = "`python -m zae_engine.legacy install`"


def files(environment: Environment) -> set[str]:
    """Return what lies in the packages of zae-engine, without what Python itself writes."""
    found = (
        path
        for name in ("zae_engine", "zae_cli", "zae_lightning")
        for path in environment.packages.glob(f"{name}/**/*")
    )
    return {str(path.relative_to(environment.packages)) for path in found if path.is_file() and path.suffix != ".pyc"}


def files_of(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def check_that_it_is_ours(environment: Environment) -> None:
    assert environment.code(VERSIONS) == "['1.0.0']\n"
    assert environment.code(TRAINER) == f"{environment.packages}/zae_engine/trainer/__init__.py True\n"


def check_that_it_is_upstreams(environment: Environment, upstream: Path) -> None:
    """The whole of 0.7.6 runs, its root, which imports everything, included."""
    assert environment.code(VERSIONS) == "['0.7.6']\n"
    code = "import sys, zae_engine; from zae_engine import CNNBase, metrics, trainer; print('lightning' in sys.modules)"
    assert environment.code(code) == "False\n"
    assert environment.code(TRAINER) == f"{environment.packages}/zae_engine/trainer/__init__.py False\n"
    assert files(environment) == files_of(upstream)


def test_ours_in_place_of_upstream_and_back_and_again(fresh, ours, upstream):
    environment = fresh()
    environment.install(upstream)
    check_that_it_is_upstreams(environment, upstream)  # and compiles everything

    assert "Successfully uninstalled zae-engine-0.7.6" in environment.install(ours)
    assert files(environment) == files_of(ours)
    assert not (environment.folder / "bin" / "zae").exists()
    check_that_it_is_ours(environment)
    assert HINT in environment.run("-c", "import zae_engine.models", check=False).stderr
    environment.legacy("install", str(upstream))
    environment.code("from zae_engine.models import CNNBase")

    assert "Successfully uninstalled zae-engine-1.0.0" in environment.install(upstream)
    check_that_it_is_upstreams(environment, upstream)  # the copy, which is still there, is not in its way

    environment.install(ours)
    check_that_it_is_ours(environment)
    assert environment.code("import zae_engine.models as m; print(m.__file__)").startswith(
        str(environment.packages / "zae_engine_legacy")
    )
    environment.pip("uninstall", "-y", "zae-engine")
    assert files(environment) == set()


def test_an_editable_installation_of_ours_in_place_of_upstream_and_back(fresh, upstream):
    environment = fresh()
    environment.install(upstream)
    assert "Successfully uninstalled zae-engine-0.7.6" in environment.pip("install", "--no-deps", "-e", str(ROOT))
    assert files(environment) == set()
    assert environment.code(VERSIONS) == "['1.0.0']\n"
    assert environment.code(TRAINER) == f"{ROOT}/zae_engine/trainer/__init__.py True\n"
    environment.legacy("install", str(upstream))
    assert (environment.packages / "zae_engine_legacy").is_dir()
    assert not (ROOT / "zae_engine_legacy").exists()
    environment.code("from zae_engine.models import CNNBase")

    environment.install(upstream)
    check_that_it_is_upstreams(environment, upstream)


def test_files_that_a_user_has_left_in_upstreams_folders_are_told_of_and_not_imported(fresh, ours, upstream):
    environment = fresh()
    environment.install(upstream)
    (environment.packages / "zae_engine" / "models" / "mine.py").write_text("print('mixture')")
    environment.install(ours)
    check_that_it_is_ours(environment)
    done = environment.run("-c", "import zae_engine.models.mine", check=False)
    assert "mixture" not in done.stdout
    left = environment.packages / "zae_engine" / "models"
    assert HINT in done.stderr
    assert f"what lies in {left} is left over from another installation and is not used: delete it" in done.stderr
    assert f"{left} is left over" in environment.legacy("install", str(upstream)).stdout
    environment.code("from zae_engine.models import CNNBase")  # from the copy


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
    code = "import zae_engine.models as m, zae_engine.trainer as t; print(m.__file__); print(t.History)"
    assert mixed.code(code).startswith(f"{mixed.packages}/zae_engine_legacy")


def test_upstream_over_ours_in_one_folder_is_upstream(fresh, ours, upstream):
    environment = fresh()
    environment.install(ours)
    environment.install("--ignore-installed", upstream)
    assert environment.code(TRAINER) == f"{environment.packages}/zae_engine/trainer/__init__.py False\n"
    assert environment.code("import sys, zae_engine; print('zae_engine.legacy' in sys.modules)") == "False\n"


def test_a_copy_in_another_environment_is_not_used(fresh, ours, bridged):
    environment = fresh()
    environment.install(ours)
    assert HINT in environment.run("-c", "import zae_engine.models", check=False).stderr
    variables = {"ZAE_ENGINE_LEGACY": str(bridged.packages / "zae_engine_legacy")}
    environment.code("import zae_engine.models", variables=variables)


def test_upstream_installed_elsewhere_on_the_path_does_not_mix_in(fresh, ours, upstream, tmp_path):
    environment = fresh()
    environment.install(ours)
    environment.install("--target", tmp_path, upstream)
    with (environment.packages / "others.pth").open("a") as file:
        file.write(f"{tmp_path}\n")  # as a user's folder, behind the environment's
    check = "import zae_engine.trainer as t; assert hasattr(t, 'History'); import zae_engine.models"
    assert HINT in environment.run("-c", check, check=False).stderr
    first = {"PYTHONPATH": str(tmp_path)}  # before it: then all is upstream's
    code = (
        "import sys, zae_engine; print(zae_engine.__file__, [n for n in sys.modules if n.startswith('zae_lightning')])"
    )
    assert environment.code(code, variables=first) == f"{tmp_path}/zae_engine/__init__.py []\n"
