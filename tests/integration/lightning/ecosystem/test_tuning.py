"""Tuning: Ray Tune's reporting callback and Optuna's pruning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..conformance.players import Player
from ..conformance.problem import train_loader, valid_loader

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def _ray():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, local_mode=False)
    yield
    ray.shutdown()


@pytest.mark.timeout(300)
def test_ray_tune_is_told_every_validation(way: str, tmp_path: Path):
    from ray import tune
    from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

    def trial(config: dict[str, Any]) -> None:
        report = TuneReportCheckpointCallback({"loss": "val_loss"}, on="validation_end")
        Player(config["way"], Path.cwd()).make(callbacks=[report]).fit(3, train_loader(), valid_loader())

    found = {}
    for name in ("hand_written", way):
        results = tune.Tuner(
            trial,
            param_space={"way": name},
            run_config=tune.RunConfig(storage_path=str(tmp_path), name=name, verbose=0),
        ).fit()
        assert not results.errors
        result = results[0]
        losses = list(result.metrics_dataframe["loss"])
        found[name] = ([round(loss, 5) for loss in losses], result.checkpoint is not None)
    assert found[way] == found["hand_written"]


def test_optuna_prunes_where_it_prunes_by_hand(compare: Any):
    import optuna
    from optuna_integration import PyTorchLightningPruningCallback

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def play(player: Player) -> dict[str, Any]:
        def objective(trial: optuna.Trial) -> float:
            rate = (0.1, 1e-6)[trial.number]
            import torch

            pruning = PyTorchLightningPruningCallback(trial, monitor="val_loss")
            subject = player.make(callbacks=[pruning], optimizer=lambda p: torch.optim.SGD(p, lr=rate))
            return subject.fit(4, train_loader(), valid_loader()).results()["val_loss"]

        study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1))
        study.optimize(objective, n_trials=2)
        return {"states": [trial.state.name for trial in study.trials], "values": study.trials[0].intermediate_values}

    compare(play)
