"""Parts that others have written for Lightning: optuna's pruning, MLflow's autologging, TensorBoard."""

from __future__ import annotations

from typing import Any

import mlflow
import optuna
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from optuna_integration import PyTorchLightningPruningCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow makes its folder where one is


class Worsens(Classifier):
    def test_step(self, batch):
        return {"loss": torch.tensor(float(self.progress_checker.get_epoch() * self.slope))}


def test_optuna_prunes_a_trial_that_does_not_get_better(make: Any, loader: Any, valid_loader: Any):
    epochs: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        trainer = make(Worsens, callbacks=[PyTorchLightningPruningCallback(trial, monitor="val_loss")])
        trainer.slope = 1 + 3 * trial.number
        try:
            trainer.run(4, loader, valid_loader)
        finally:
            epochs.append(trainer.progress_checker.get_epoch() - 1)
        return float(trainer.lightning_trainer.callback_metrics["val_loss"])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1))
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.trials[0].intermediate_values == {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    assert epochs[0] == 4
    assert epochs[1] < 4


def test_mlflow_logs_by_itself(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.pytorch.autolog(log_models=False)
    try:
        with mlflow.start_run() as run:
            make().run(3, loader, valid_loader)
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    finally:
        mlflow.pytorch.autolog(disable=True)
    assert len(history) == 3


def test_loggers_of_lightning_get_every_step_and_epoch(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    loggers = [
        TensorBoardLogger(tmp_path, "tensorboard"),
        CSVLogger(tmp_path, "csv"),
        MLFlowLogger("test", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"),
    ]
    trainer = make(loggers=loggers)
    trainer.run(2, loader, valid_loader)
    trainer.run(1, loader, valid_loader)
    # Each run writes a file. TensorBoard reads those of one second by their names, number 10 of a process before 9.
    events = EventAccumulator(loggers[0].log_dir)
    events.Reload()
    losses = sorted((event.step, event.value) for event in events.Scalars("loss"))
    assert losses == [(step, pytest.approx(float(loss))) for step, loss in enumerate(trainer.get_loss_history())]
    assert len(events.Scalars("test_loss")) == 3
    history = loggers[2].experiment.get_metric_history(loggers[2].run_id, "loss")
    assert [metric.step for metric in history] == list(range(9))


class OnTwo(Classifier.add_on(MultiGPUAddon)):
    pass


def test_tensorboard_is_written_once_by_two_processes(make: Any, loader: Any, tmp_path: Any):
    logger = TensorBoardLogger(tmp_path, "tensorboard")
    make(OnTwo, device=["cpu", "cpu"], loggers=[logger]).run(2, loader)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3]
