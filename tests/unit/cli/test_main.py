"""The command: help, version, unknown names, the installed entry point, and what an import loads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import zae_engine
from zae_engine.cli.__main__ import main

ROOT = Path(__file__).parents[3]


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=100)


def test_without_a_command_the_help_names_all_commands(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    for command in ("doctor", "example", "tree", "hello", "legacy"):
        assert re.search(rf"^ +{command} ", shown, re.MULTILINE)


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"zae-engine {zae_engine.__version__}\n"


@pytest.mark.parametrize("command", ["doctor", "example", "tree", "hello", "legacy"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    assert raised.value.code == 0
    assert f"usage: zae {command}" in capsys.readouterr().out


def test_python_m_is_the_same_command():
    done = python("-m", "zae_engine.cli", "hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert "My name is zae-park" in done.stdout


def test_the_entry_point_in_pyproject_is_main():
    scripts = (ROOT / "pyproject.toml").read_text().split("[project.scripts]\n")[1]
    assert scripts.startswith('zae = "zae_engine.cli.__main__:main"\n')
    code = "import sys; from zae_engine.cli.__main__ import main; sys.argv = ['zae', 'hello']; sys.exit(main())"
    assert python("-c", code).returncode == 0


def test_importing_the_command_imports_neither_torch_nor_lightning():
    loaded = python("-c", "import sys, zae_engine.cli.__main__; print({m.split('.')[0] for m in sys.modules})").stdout
    assert "'zae_engine'" in loaded
    for name in ("torch", "lightning", "torchmetrics", "numpy", "wandb", "neptune", "zae_lightning"):
        assert f"'{name}'" not in loaded


def test_legacy_is_the_module_s_command(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ZAE_ENGINE_LEGACY", str(tmp_path))
    assert main(["legacy", "status"]) == 1
    assert f"ZAE_ENGINE_LEGACY={str(tmp_path)!r} names no folder" in capsys.readouterr().out
    if main(["legacy", "install", str(tmp_path / "absent.whl")]) == 1:  # no complete copy is installed
        assert "absent.whl cannot be read" in capsys.readouterr().err


def test_a_reader_that_leaves_early_costs_no_traceback():
    command = f"{sys.executable} -m zae_engine.cli tree | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout.startswith("zae_engine ")
    assert done.stderr == ""
