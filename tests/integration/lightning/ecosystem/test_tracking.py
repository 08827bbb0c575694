"""Tracking: MLflow's autologging with models, DVCLive, Weights & Biases offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from dvclive import Live
from dvclive.lightning import DVCLiveLogger

from ..conformance.observing import files
from ..conformance.players import Player
from ..conformance.problem import train_loader, valid_loader


def autologged(player: Player, **options: Any) -> tuple[Any, Any]:
    """Train under ``mlflow.pytorch.autolog()`` and return the subject and MLflow's run."""
    mlflow.set_tracking_uri(f"sqlite:///{player.folder}/mlflow.db")
    mlflow.pytorch.autolog(**options)
    try:
        with mlflow.start_run() as run:
            subject = player.make().fit(2, train_loader(), valid_loader())
    finally:
        mlflow.pytorch.autolog(disable=True)
    return subject, mlflow.MlflowClient().get_run(run.info.run_id)


@pytest.mark.timeout(300)
def test_mlflow_logs_the_model_and_loads_it_back(compare: Any):
    def play(player: Player) -> dict[str, Any]:
        subject, run = autologged(player, log_models=True)
        [logged] = mlflow.search_logged_models(
            experiment_ids=[run.info.experiment_id], output_format="list", filter_string=""
        )
        loaded = mlflow.pytorch.load_model(logged.model_uri)
        x = torch.ones(2, 10)
        return {"output": loaded(x).detach(), "same": torch.equal(loaded(x), subject.model(x))}

    compare(play)


def test_mlflow_logs_metrics_and_parameters(compare: Any):
    def play(player: Player) -> dict[str, Any]:
        _, run = autologged(player, log_models=False)
        metrics = {name: run.data.metrics.get(name) for name in ("train_loss", "val_loss", "test_loss")}
        return {"metrics": metrics, "optimizer": run.data.params.get("optimizer_name"), "lr": run.data.params.get("lr")}

    compare(play)


def test_dvclive_has_metrics_and_files(compare: Any):
    def play(player: Player) -> dict[str, Any]:
        live = Live(dir="live", save_dvc_exp=False, dvcyaml=None)
        player.make(loggers=[DVCLiveLogger(experiment=live)]).fit(2, train_loader(), valid_loader())
        written = Path("live/plots/metrics")
        lines = {name: len((written / name).read_text().splitlines()) - 1 for name in files(written, "*.tsv")}
        return {name: lines.get(f"{name}.tsv") for name in ("loss", "test_loss")}

    compare(play)


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_wandb_offline_gets_the_steps(way: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import importlib

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    logger = importlib.import_module(package).loggers.WandbLogger(project="p", save_dir=tmp_path, offline=True)
    options = {"package": package} if way == "own_trainer" else {}
    subject = Player(way, tmp_path).make(loggers=[logger], **options)
    subject.fit(2, train_loader(), valid_loader())
    summary = dict(logger.experiment.summary)
    logger.experiment.finish()
    assert summary["loss"] == pytest.approx(float(subject.facade.get_loss_history("train")[-1]), rel=1e-5)
    assert "test_loss" in summary
