"""Without a copy of 0.7.6: what is ours works as ever, what is not says which command brings it."""

from __future__ import annotations

import json

import pytest

from zae_engine import legacy

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

HEAVY = "{'lightning', 'pytorch_lightning', 'torchmetrics', 'wandb', 'neptune', 'matplotlib', 'rich', 'zae_lightning'}"
TRY = """
import importlib, importlib.util, json, sys
def attempt(code):
    try:
        exec(code, {"importlib": importlib})
    except BaseException as error:
        return [type(error).__name__, str(error), getattr(error, "name", None)]
    return None
"""


@pytest.mark.parametrize(("package", "more"), [("zae_engine", " | {'torch', 'numpy'}"), ("zae_engine.trainer", "")])
def test_importing_stays_cheap(bare, package, more):
    looked_for = f"import sys, {package}; print(({HEAVY}{more}) & set(sys.modules))"
    assert bare.code(looked_for).strip() == "set()"


def test_every_part_of_upstream_says_which_command_brings_it(bare):
    codes = {
        part: [f"import zae_engine.{part}", f"from zae_engine import {part}", f"from zae_engine.{part}.deeper import x"]
        for part in legacy.PARTS
    }
    text = f"{TRY}\nprint(json.dumps({{p: [attempt(c) for c in cs] for p, cs in {codes!r}.items()}}))"
    found = json.loads(bare.code(text))
    assert len(found) == 7
    for part, errors in found.items():
        for kind, message, name in errors:
            assert kind == "ModuleNotFoundError"
            assert name == f"zae_engine.{part}"
            assert message.startswith(f"zae_engine.{part} is a part of zae-engine 0.7.6 (")
            assert message.endswith("which `python -m zae_engine.legacy install` brings into this environment.")
            assert message.replace("0.7.6", "").count(". ") == 0  # one sentence


@pytest.mark.parametrize("name", ["CNNBase", "ArcFaceLoss", "RunLengthCodec", "segmentation_1dim", "BasicBlock"])
def test_root_names_from_there_say_so_too(bare, name):
    code = f"{TRY}\nprint(json.dumps(attempt('from zae_engine import {name}')))"
    kind, message, _ = json.loads(bare.code(code))
    assert kind == "ModuleNotFoundError"
    assert "`python -m zae_engine.legacy install`" in message


def test_unknown_names_fail_as_anywhere(bare):
    code = f"""{TRY}
print(json.dumps([attempt(c) for c in ("import zae_engine.model", "from zae_engine import model",
      "import zae_engine.trainer.model", "import zae_engine\\nzae_engine.model")]))"""
    missing, not_there, below, attribute = json.loads(bare.code(code))
    assert missing == ["ModuleNotFoundError", "No module named 'zae_engine.model'", "zae_engine.model"]
    assert not_there[0] == "ImportError"
    assert "cannot import name 'model'" in not_there[1]
    assert below[:2] == ["ModuleNotFoundError", "No module named 'zae_engine.trainer.model'"]
    assert attribute[:2] == ["AttributeError", "module 'zae_engine' has no attribute 'model'"]


def test_looking_for_a_part_finds_nothing_and_raises_nothing(bare):
    code = """
import importlib.util, pkgutil, inspect, zae_engine
assert importlib.util.find_spec("zae_engine.models") is None
assert not hasattr(zae_engine, "models") and not hasattr(zae_engine, "CNNBase")
assert getattr(zae_engine, "models", 1) == 1
assert "models" not in dir(zae_engine) and "CNNBase" not in dir(zae_engine)
assert "models" not in [module.name for module in pkgutil.iter_modules(zae_engine.__path__)]
try:
    zae_engine.models
except AttributeError as error:
    print(error)
assert "Trainer" in dict(inspect.getmembers(zae_engine))  # asks for every name
"""
    assert "`python -m zae_engine.legacy install`" in bare.code(code)


def test_names_of_ours_are_at_the_root(bare):
    code = """
import sys, zae_engine
from zae_engine import Trainer, ProgressChecker, T, accuracy, trainer, metrics, schedulers, confusion
assert "lightning" not in sys.modules
assert zae_engine.trainer.Trainer is Trainer is trainer.Trainer
assert zae_engine.mse is metrics.mse and confusion is metrics.confusion
names = {}
exec("from zae_engine import *", names)
assert names["Trainer"] is Trainer and names["rms"] is metrics.rms and "CNNBase" not in names
"""
    bare.code(code)


def test_running_an_example_says_so(bare):
    for module in ("zae_engine.examples.ddpm_mnist", "zae_engine.examples.classification1D"):
        done = bare.run("-m", module, check=False)
        assert done.returncode != 0
        assert "`python -m zae_engine.legacy install`" in done.stderr


def test_a_variable_that_names_no_copy_is_told_of(bare, tmp_path):
    for folder in (tmp_path, tmp_path / "absent", bare.packages):  # the last holds this package itself
        code = f"{TRY}\nprint(attempt('import zae_engine.models')[1])"
        message = bare.code(code, variables={"ZAE_ENGINE_LEGACY": str(folder)})
        assert f"ZAE_ENGINE_LEGACY='{folder}' names no folder with a copy of that: correct it, or unset it" in message
