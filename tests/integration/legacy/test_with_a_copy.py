"""With a copy of 0.7.6: its parts are modules like any other, and what they need of ours is ours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.parity import reference
from zae_engine import legacy

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes


def test_nothing_is_imported_until_it_is_asked_for(bridged):
    code = """
import sys, zae_engine, zae_engine.trainer, zae_engine.metrics
parts = {name.split(".")[1] for name in sys.modules if name.startswith("zae_engine.")}
assert parts == {"_errors", "_root", "_warnings", "legacy", "metrics", "trainer"}, parts
from zae_engine.nn_night.blocks import BasicBlock
parts = {name.split(".")[1] for name in sys.modules if name.startswith("zae_engine.")}
assert parts == {"_errors", "_root", "_warnings", "legacy", "metrics", "trainer", "nn_night"}, parts
assert zae_engine.__version__ == "1.0.0"
"""
    bridged.code(code)


def test_trainer_schedulers_and_metrics_are_ours_for_upstreams_modules_too(bridged):
    code = """
import zae_engine, zae_engine.loss.iou, zae_engine.loss.norm, zae_engine.examples.segmentation1D as example
from zae_engine import metrics, trainer, schedulers
assert zae_engine.loss.iou._miou is metrics.miou and zae_engine.loss.norm._mse is metrics.mse
assert example.Trainer is trainer.Trainer and example.CosineAnnealingScheduler is schedulers.CosineAnnealingScheduler
for ours in (trainer, schedulers, metrics):
    assert "zae_engine_legacy" not in ours.__file__
assert "zae_engine_legacy" in zae_engine.loss.__file__
import torch
labels = torch.tensor([[0, 1, 2, 2]])
assert zae_engine.loss.mIoU(labels, labels) == 1 and zae_engine.mIoU is zae_engine.loss.mIoU
"""
    bridged.code(code)


ROOT_NAMES = """
import types, json, zae_engine
found = {}
for name in dir(zae_engine):
    value = getattr(zae_engine, name)
    if not name.startswith("_") and getattr(value, "__name__", "").split(".")[0] != "torch":
        found[name] = value.__name__ if isinstance(value, types.ModuleType) else type(value).__name__
print(json.dumps(found))
"""


def test_every_root_name_of_upstream_is_there(bridged, upstream):
    done = subprocess.run(
        [sys.executable, "-c", ROOT_NAMES],
        cwd=reference.fetch(),
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout), json.loads(bridged.code(ROOT_NAMES))
    assert len(theirs) > 60
    missing = {name: kind for name, kind in theirs.items() if name not in ours}
    assert not missing
    modules = {name: kind for name, kind in theirs.items() if kind.startswith("zae_engine.")}
    assert {name: ours[name] for name in modules} == modules
    assert set(ours) - set(theirs) == {"legacy"}


def test_modules_can_be_looked_up_read_and_listed(bridged):
    code = """
import importlib.resources, importlib.util, inspect, pkgutil, linecache
spec = importlib.util.find_spec("zae_engine.models")
assert spec.origin.endswith("zae_engine_legacy/zae_engine/models/__init__.py"), spec
assert importlib.util.find_spec("zae_engine.models.builds.cnn").has_location
import zae_engine.models
from zae_engine.models.builds import cnn
assert "class CNNBase" in inspect.getsource(cnn) and inspect.getsource(cnn.CNNBase).startswith("class CNNBase")
names = [module.name for module in pkgutil.walk_packages(zae_engine.models.__path__, "zae_engine.models.",
         onerror=lambda name: None)]
assert "zae_engine.models.builds.cnn" in names and "zae_engine.models.converter.dim_converter" in names
assert "CNN" in importlib.resources.files("zae_engine.models").joinpath("README_models.md").read_text(encoding="utf-8")
import importlib
assert importlib.reload(cnn) is cnn
"""
    bridged.code(code)


def test_sample_data_is_found(bridged):
    code = """
from zae_engine.utils import example_ecg, EPS
signal, label = example_ecg()
assert signal.shape == label.shape == (2500,) and EPS == 1e-9
"""
    bridged.code(code)


def test_models_are_pickled_and_sent_to_spawned_processes(bridged, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""
import pickle, torch
from torch.multiprocessing import get_context
from zae_engine.models import CNNBase
from zae_engine.nn_night.blocks import BasicBlock

def count(model, queue):
    queue.put(sum(p.numel() for p in model.parameters()))

if __name__ == "__main__":
    model = CNNBase(BasicBlock, 1, 9, 4, [1, 1, 1, 1])
    assert type(pickle.loads(pickle.dumps(model))) is CNNBase
    context = get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=count, args=(pickle.loads(pickle.dumps(model)), queue))
    process.start()
    assert queue.get() == sum(p.numel() for p in model.parameters())
    process.join()
    torch.save(model, "model.pt")
""")
    bridged.run(str(script))
    # A process that has imported nothing yet.
    bridged.code("import torch; print(type(torch.load('model.pt', weights_only=False)).__module__)")


def test_a_dependency_that_is_missing_is_named(bridged):
    code = """
for module, package in (("models.foundations", "transformers"), ("examples.ddpm_mnist", "torchvision")):
    try:
        __import__(f"zae_engine.{module}")
    except ModuleNotFoundError as error:
        assert error.name.split(".")[0] == package
        print(error)
"""
    first, second = bridged.code(code).splitlines()
    ending = "which is not installed: `pip install transformers` brings it."
    assert first == f"zae_engine.models.foundations.bert of zae-engine 0.7.6 needs transformers, {ending}"
    assert second.startswith("zae_engine.examples.ddpm_mnist of zae-engine 0.7.6 needs torchvision, which")


def test_a_mistake_within_a_module_is_not_taken_for_a_missing_dependency(bridged):
    code = """
import zae_engine.models
try:
    import zae_engine.models.nothing
except ModuleNotFoundError as error:
    assert str(error) == "No module named 'zae_engine.models.nothing'", error
"""
    bridged.code(code)


def test_a_copy_that_is_fetched_meanwhile_is_found(fresh, ours, upstream):
    environment = fresh()
    environment.install(ours)
    code = f"""
import zae_engine, zae_engine.legacy.__main__ as command
try:
    from zae_engine import models
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
command.main(["install", {str(upstream)!r}])
from zae_engine import models
assert zae_engine.CNNBase is zae_engine.models.CNNBase
"""
    environment.code(code)


def test_importing_the_package_anew_leaves_one_finder(bridged):
    code = """
import sys, importlib
for _ in range(3):
    import zae_engine
    importlib.reload(zae_engine)
    for name in [name for name in sys.modules if name.startswith("zae_engine")]:
        del sys.modules[name]
import zae_engine.operation
assert sum(type(finder).__name__ == "LegacyFinder" for finder in sys.meta_path) == 1
"""
    bridged.code(code)


def test_the_parts_are_those_that_upstream_has():
    packages = {path.parent.name for path in (reference.fetch() / "zae_engine").glob("*/__init__.py")}
    assert packages == {*legacy.PARTS, "trainer", "schedulers", "metrics"}
