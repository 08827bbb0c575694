"""Requirements are read from the metadata, and versions are compared with their ranges."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from zae_engine.cli import requirements
from zae_engine.cli.requirements import Requirement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch>=2.6", Requirement("torch", ">=2.6")),
        ("lightning<2.7,>=2.6", Requirement("lightning", ">=2.6,<2.7")),
        ("lightning (>=2.6,<2.7)", Requirement("lightning", ">=2.6,<2.7")),
        ("wandb>=0.19; extra == 'wandb'", Requirement("wandb", ">=0.19", "wandb")),
        ('neptune<2,>=1.13 ; extra == "neptune"', Requirement("neptune", ">=1.13,<2", "neptune")),
        ("tqdm", Requirement("tqdm", "")),
        ("name @ file:///wheel.whl", None),
    ],
)
def test_a_line_of_the_metadata_is_read(text, expected):
    assert requirements.parse(text) == expected


def test_the_package_s_own_requirements_are_found_once_each():
    found = requirements.requirements()
    assert {"torch", "lightning", "torchmetrics", "numpy"} <= {r.name for r in found if r.extra is None}
    assert {r.name: r.extra for r in found if r.extra} == {
        "wandb": "wandb",
        "neptune": "neptune",
        "matplotlib": "notebook",
        "pandas": "notebook",
        "ipywidgets": "notebook",
    }
    assert requirements.python_versions() == ">=3.10"


def test_a_requirement_has_the_forms_of_pip_and_of_import():
    requirement = Requirement("lightning-utilities", ">=0.14")
    assert str(requirement) == "lightning-utilities>=0.14"
    assert requirement.module == "lightning_utilities"


@pytest.mark.parametrize("versions", ["", ">=2.6", ">=2.6,<2.7", "<2", "==2.6", "!=2.6.1", "<=2.6", ">2.6"])
@pytest.mark.parametrize("version", ["1.9", "2", "2.6", "2.6.0", "2.6.1", "2.6.10", "2.7", "2.10", "3.0"])
def test_a_range_means_what_it_means_to_pip(version, versions):
    assert requirements.is_supported(version, versions) == SpecifierSet(versions).contains(version)


def test_local_versions_and_prereleases_count_by_their_release():
    assert requirements.is_supported("2.13.0+cpu", ">=2.6")
    assert requirements.is_supported("1.14.0.post2", ">=1.13,<2")
    assert not requirements.is_supported("2.7.0rc1", ">=2.6,<2.7")
