"""A package is missing, broken, outside the supported versions, or right; each problem has its command for pip."""

from __future__ import annotations

import pytest

from zae_engine.cli import packages
from zae_engine.cli.findings import Finding
from zae_engine.cli.imports import Import

RIGHT = {requirement.module: Import() for requirement in packages.needed()}


def install(folder, name, version):
    """Put metadata of a package into a folder, as pip does."""
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def finding_of(name, findings):
    [finding] = [finding for finding in findings if finding.text.split()[0] == name]
    return Finding(" ".join(finding.text.split()), finding.grade, finding.remedy)


def test_all_is_right_here():
    assert {finding.grade for finding in packages.versions(RIGHT)} == {"ok"}
    names = [finding.text.split()[0] for finding in packages.versions(RIGHT)]
    assert names[:6] == ["Python", "zae-engine", "torch", "lightning", "torchmetrics", "numpy"]


def test_a_version_outside_the_range_is_an_error(folder):
    install(folder, "lightning", "2.9.1")
    assert finding_of("lightning", packages.versions(RIGHT)) == Finding(
        "lightning 2.9.1 is outside the supported versions >=2.6,<2.7", "error", 'pip install "lightning>=2.6,<2.7"'
    )


def test_an_extra_outside_the_range_is_a_note(folder):
    install(folder, "wandb", "0.1")
    assert finding_of("wandb", packages.extras(RIGHT)) == Finding(
        "wandb 0.1 is outside the supported versions >=0.19", "note", 'pip install "wandb>=0.19"'
    )


def test_a_broken_import_is_an_error_with_its_reason(folder):
    imports = {**RIGHT, "torchmetrics": Import("ImportError: no libx.so")}
    install(folder, "torchmetrics", "1.9.0")
    assert finding_of("torchmetrics", packages.versions(imports)) == Finding(
        "torchmetrics 1.9.0 cannot be imported: ImportError: no libx.so",
        "error",
        'pip install --force-reinstall "torchmetrics>=1.7"',
    )


def test_a_missing_package_has_the_command_that_installs_it(monkeypatch):
    import importlib.metadata

    version = importlib.metadata.version

    def without(name):  # as in an environment that lacks both
        if name in ("pandas", "safetensors"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    missing = Import("ModuleNotFoundError: No module", is_missing=True)
    imports = {**RIGHT, "pandas": missing, "safetensors": missing}
    assert finding_of("pandas", packages.extras(imports)) == Finding(
        "pandas missing", "note", 'pip install "zae-engine[notebook]"'
    )
    assert finding_of("safetensors", packages.versions(imports)) == Finding(
        "safetensors missing", "error", 'pip install "safetensors>=0.4.5"'
    )
    imports["pandas"] = Import(version="2.2")  # a copy without metadata
    assert finding_of("pandas", packages.extras(imports)) == Finding("pandas 2.2 (>=2.1)")


def test_another_installation_in_front_is_an_error(folder):
    install(folder, "zae-engine", "0.7.6")
    finding = finding_of("zae-engine", packages.versions(RIGHT))
    assert (finding.grade, finding.text) == ("error", "zae-engine 1.0.0 is imported, but 0.7.6 is installed")
    assert "pip uninstall zae-engine" in finding.remedy
