"""External callbacks: a package that registers some is found, also one that is installed during the program."""

from __future__ import annotations

import sys

import pytest
from lightning.pytorch.callbacks import Callback
from zae_lightning.performance import external_callbacks

GROUP = "lightning.pytorch.callbacks_factory"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with a factory of callbacks into a folder of the import path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install():
        (site / "registering.py").write_text(
            "from lightning.pytorch.callbacks import Callback\n"
            "class External(Callback):\n"
            "    def on_train_batch_end(self, trainer, module, *args):\n"
            "        module.hooks.trainer.external = True\n"
            "def factory():\n"
            "    return [External()]\n"
        )
        info = site / "registering-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: registering\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nit = registering:factory\n")

    yield install
    sys.modules.pop("registering", None)


def test_a_package_that_is_installed_between_two_runs_is_found(make, loader, install):
    trainer = make()
    trainer.run(1, loader)
    assert not hasattr(trainer, "external")
    install()
    trainer.run(1, loader)
    assert trainer.external
    external = [type(callback).__name__ for callback in trainer.lightning_trainer.callbacks]
    assert "External" in external


def test_packages_are_read_once_while_nothing_is_installed(monkeypatch):
    calls = []
    monkeypatch.setattr(external_callbacks, "entry_points", lambda **kwargs: calls.append(kwargs) or [])
    external_callbacks._has_entry_points.cache_clear()
    for _ in range(3):
        assert external_callbacks.external_callbacks(GROUP) == []
    assert calls == [{"group": GROUP}]
    external_callbacks._has_entry_points.cache_clear()


def test_each_trainer_gets_callbacks_of_its_own(install):
    install()
    first, second = (external_callbacks.external_callbacks(GROUP)[0] for _ in range(2))
    assert first is not second
    assert isinstance(first, Callback)
