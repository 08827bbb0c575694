"""Ray Train, Ray Data and Ray Tune, with two workers on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import loops

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.timeout(600)  # a worker group starts in a minute on a busy machine
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}", "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    yield
    ray.shutdown()


def fit(loop: Any, folder: Path, max_failures: int = 0, **kwargs: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Run a loop in two workers of Ray Train; return Ray's result and what each worker has written."""
    import ray.train
    from ray.train.torch import TorchTrainer

    (folder / "found").mkdir()
    result = TorchTrainer(
        loop,
        train_loop_config={"folder": str(folder / "found")},
        scaling_config=ray.train.ScalingConfig(num_workers=2),
        run_config=ray.train.RunConfig(
            storage_path=str(folder / "storage"),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
        ),
        **kwargs,
    ).fit()
    return result, [json.loads((folder / "found" / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, Any]]]:
    import ray.data

    x, y = loops.samples()
    rows = [
        {"x": values.numpy(), "y": int(label), "index": i} for i, (values, label) in enumerate(zip(x, y, strict=True))
    ]
    return fit(loops.every_way, tmp_path_factory.mktemp("ways"), datasets={"train": ray.data.from_items(rows)})


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("torchrun")
    script = Path(__file__).with_name("torchrun_script.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "rank0.json").read_text())


def close(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found == {key: pytest.approx(value, abs=1e-6) for key, value in expected.items()}


@pytest.mark.parametrize("way", ["add-on", "recipe"])
def test_two_workers_learn_what_two_processes_of_torchrun_learn(workers: Any, torchrun: Any, way: str):
    for found in workers[1]:
        assert close(found[way], torchrun)
    assert len(torchrun["steps"]) == 8 * loops.EPOCHS


def test_each_epoch_is_reported_with_a_checkpoint(workers: Any, torchrun: Any):
    result, _ = workers
    reported = result.metrics_dataframe[: 2 * loops.EPOCHS]
    assert list(reported["train_loss"]) == pytest.approx(2 * torchrun["train"], abs=1e-6)
    assert list(reported["val_loss"]) == pytest.approx(2 * torchrun["test"], abs=1e-6)
    assert (Path(result.checkpoint.path) / "checkpoint.ckpt").exists()


def test_the_recipe_works_in_a_lightning_trainer_of_the_users_own(workers: Any):
    for found in workers[1]:
        assert len(found["own"]["train"]) == 2
        assert found["own"]["weights"] == workers[1][0]["own"]["weights"]
        assert found["warnings of own"] == []


def test_workers_that_train_alone_get_one_warning_that_names_both_ways(workers: Any):
    for found in workers[1]:
        [message] = found["warnings of alone"]
        assert "2 workers" in message
        assert "MultiGPUAddon" in message
        assert "RayDDPStrategy()" in message
        assert len(found["alone"]["steps"]) == 2 * 16


def test_the_shards_of_ray_data_are_used_as_they_are(workers: Any):
    for found in workers[1]:
        assert found["indices"] == list(range(64))  # the log of a step has the samples of both workers
        assert len(found["ray data"]["steps"]) == 2 * 8
        assert found["ray data"]["weights"] == workers[1][0]["ray data"]["weights"]


def test_a_killed_worker_is_restarted_by_ray_and_the_run_ends_as_if_nothing_had_happened(tmp_path: Path, torchrun: Any):
    result, found = fit(loops.killed_once, tmp_path, max_failures=1)
    for of_worker in found:
        assert of_worker.pop("resumed")
        assert len(of_worker["train"]) == loops.EPOCHS
        assert close(of_worker, torchrun)
    assert result.metrics["epoch"] == loops.EPOCHS - 1


def test_ray_tune_runs_trainers_as_trials(tmp_path: Path):
    from ray import tune

    results = tune.Tuner(
        loops.trial,
        param_space={"lr": tune.grid_search([0.05, 1e-6])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not results.errors
    assert [len(result.metrics_dataframe) for result in results] == [3, 3]
    assert results.get_best_result().config["lr"] == 0.05


def test_the_example_trains_on_two_workers(tmp_path: Path):
    script = ROOT / "examples" / "ray_train.py"
    command = [sys.executable, str(script), "--epochs", "3", "--storage", str(tmp_path / "results"), "--cpus", "4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "Epochs: 3" in done.stdout
    assert float(re.search(r"Validation loss: ([\d.]+)", done.stdout)[1]) < 0.5
