"""The command that fetches a copy of 0.7.6: whole or not at all, beside the package, unseen by pip."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.legacy.conftest import Environment, link_others
from zae_engine.legacy import fetch

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

FIND = "from zae_engine import legacy; print(legacy.find())"


@pytest.fixture
def environment(fresh, ours) -> Environment:
    environment = fresh()
    environment.install(ours)
    return environment


def folders(environment: Environment) -> list[str]:
    return sorted(path.name for path in environment.packages.iterdir() if "zae" in path.name)


def test_install_downloads_status_tells_remove_deletes(environment):
    before = folders(environment)
    done = environment.legacy("status", check=False)
    assert done.returncode == 1
    assert done.stdout == "There is no copy of zae-engine 0.7.6; `python -m zae_engine.legacy install` fetches it.\n"

    copy = environment.packages / "zae_engine_legacy"
    told = environment.legacy("install").stdout.splitlines()
    assert told[0] == f"zae-engine 0.7.6 is in {copy}."
    assert told[1].startswith("zae-engine 0.7.6: ")
    assert told[1].endswith(f"examples come from {copy}/zae_engine.")
    assert len(told) == 2
    assert folders(environment) == sorted([*before, "zae_engine_legacy"])
    assert (copy / "zae_engine" / "models" / "__init__.py").stat().st_mode & 0o044 == 0o044  # others may read it
    assert "zae_engine_legacy" in environment.legacy("status").stdout
    listed = environment.pip("list", "--local")
    assert "1.0.0" in listed
    assert "0.7.6" not in listed
    versions = "import importlib.metadata as m; print([d.version for d in m.distributions() if d.name == 'zae-engine'])"
    assert environment.code(versions) == "['1.0.0']\n"

    times = copy.stat().st_mtime_ns
    environment.legacy("install")  # is there already
    assert copy.stat().st_mtime_ns == times

    assert environment.legacy("remove").stdout == f"Deleted {copy}.\n"
    assert folders(environment) == before
    assert environment.legacy("remove").stdout == "There is no copy to delete.\n"


def test_packages_that_the_copy_needs_and_that_are_missing_are_named(ours, upstream, tmp_path):
    (tmp_path / "others").mkdir()
    environment = Environment(tmp_path / "env", link_others(tmp_path / "others", "nibabel", "fastparquet"))
    environment.install(ours)
    told = environment.legacy("install", str(upstream)).stdout
    assert 'loss needs nibabel, not installed here: `pip install "nibabel>=5.1"`.' in told
    assert "data needs fastparquet, not installed here: `pip install fastparquet`." in told
    done = environment.run("-c", "import zae_engine.loss", check=False)
    expected = "zae_engine.utils.io of zae-engine 0.7.6 needs nibabel, which is not installed: `pip install"
    assert f'ModuleNotFoundError: {expected} "nibabel>=5.1"` brings it.' in done.stderr


def test_a_damaged_copy_is_told_of_and_replaced(environment, upstream):
    environment.legacy("install", str(upstream))
    damaged = environment.packages / "zae_engine_legacy" / "zae_engine" / "loss" / "norm.py"
    original = damaged.read_text()
    damaged.write_text(original.replace("mse", "rms"))
    done = environment.legacy("status", check=False)
    assert done.returncode == 1
    assert "Files of it are missing or have been changed" in done.stdout
    environment.legacy("install", str(upstream))
    assert damaged.read_text() == original
    assert environment.legacy("status").returncode == 0


def test_another_file_is_refused(environment, upstream, tmp_path):
    before = folders(environment)
    wrong = tmp_path / fetch.WHEEL
    wrong.write_bytes(upstream.read_bytes()[:-1])
    done = environment.legacy("install", str(wrong), check=False)
    assert done.returncode == 1
    assert f"not {fetch.SHA256}: it is not {fetch.WHEEL} as it stands on PyPI, and is not used." in done.stderr
    done = environment.legacy("install", str(tmp_path / "absent.whl"), check=False)
    assert done.returncode == 1
    assert "absent.whl cannot be read" in done.stderr
    assert folders(environment) == before


def test_a_download_that_fails_says_what_to_do(environment):
    before = folders(environment)
    done = environment.legacy("install", check=False, variables={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""})
    assert done.returncode == 1
    assert "pip could not download zae-engine 0.7.6" in done.stderr
    assert f"`python -m zae_engine.legacy install {fetch.WHEEL}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert folders(environment) == before


def test_a_killed_install_leaves_nothing_that_is_used(environment, upstream):
    for _ in range(5):  # at whatever moment
        process = subprocess.Popen(
            [environment.python_path, "-m", "zae_engine.legacy", "install"],
            cwd=environment.folder,
            env={**os.environ, "PYTHONPATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not list(environment.packages.glob(f"{fetch.BESIDE}*")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        downloads = psutil.Process(process.pid).children(recursive=True)  # pip, which goes on writing
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs(downloads, timeout=60)
        assert environment.code(FIND) == "None\n"
    assert list(environment.packages.glob(f"{fetch.BESIDE}*"))
    environment.legacy("install", str(upstream))
    assert environment.legacy("status").returncode == 0
    environment.legacy("remove")
    assert not list(environment.packages.glob(f"{fetch.BESIDE}*"))


def test_two_installs_at_once_both_succeed(environment, upstream):
    command = [environment.python_path, "-m", "zae_engine.legacy", "install", upstream]
    options = {"cwd": environment.folder, "env": {**os.environ, "PYTHONPATH": ""}}
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, **options) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert environment.legacy("status").returncode == 0
    assert not list(environment.packages.glob(f"{fetch.BESIDE}*"))


def test_an_environment_that_cannot_be_written_to_is_told_of(ours, others, upstream):
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}  # root may write anywhere
    try:
        folder.chmod(0o755)
        environment = Environment(folder / "env", others)
        environment.install(ours)
        environment.packages.chmod(0o555)
        try:
            environment.code("", **user)
        except (OSError, AssertionError):
            pytest.skip("this Python cannot be run by a user without rights")
        done = environment.legacy("install", str(upstream), check=False, **user)
        assert done.returncode == 1
        assert (
            f"{environment.packages} cannot be written to. Put zae-engine 0.7.6 into a folder of yours" in done.stderr
        )
        assert "set ZAE_ENGINE_LEGACY=FOLDER" in done.stderr
    finally:
        environment.packages.chmod(0o755)
        shutil.rmtree(folder)


def test_the_variable_names_another_copy(bare, tmp_path):
    bare.pip("install", "-q", "--no-deps", "--target", str(tmp_path / "copy"), "zae-engine==0.7.6")
    for given in (tmp_path / "copy", tmp_path / "copy" / "zae_engine"):
        variables = {"ZAE_ENGINE_LEGACY": str(given)}
        code = "import zae_engine.operation as o; print(o.__file__)"
        assert bare.code(code, variables=variables).startswith(str(tmp_path / "copy"))
        assert "by ZAE_ENGINE_LEGACY" in bare.legacy("status", variables=variables).stdout
    assert "is yours and stays" in bare.legacy("remove", variables=variables).stdout
    assert (tmp_path / "copy" / "zae_engine").exists()


def test_the_script_zae_of_an_installed_wheel_answers(bare):
    script = bare.folder / "bin" / "zae"
    options = {"cwd": bare.folder, "capture_output": True, "text": True, "check": False, "timeout": 100}
    options["env"] = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert subprocess.run([script, "hello"], **options).stdout.startswith("My name is zae-park\n")
    told = subprocess.run([script, "legacy", "status"], **options)
    assert told.stdout == bare.legacy("status", check=False).stdout
    assert told.returncode == 1
    for arguments in (["example"], ["example", "--mpu", "--path", "several.py"]):  # the wheel has the scripts
        done = subprocess.run([script, *arguments], **options)
        assert done.returncode == 0, done.stderr
