"""Neptune: the logger in any ``L.Trainer``, and the start of runs when the service does not answer."""

from __future__ import annotations

import base64
import json
import math
import socket
import threading
import warnings

import lightning.pytorch as L
import pytest
import torch
from zae_lightning.loggers import neptune as neptune_logger
from zae_lightning.loggers.neptune import NeptuneLogger, start_run

from zae_engine.trainer.addons import read_offline_run

OFFLINE = {"project": "w/p", "mode": "offline", "capture_hardware_metrics": False}


@pytest.fixture(autouse=True)
def _in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def token(address):
    return base64.b64encode(json.dumps({"api_address": address, "api_key": "x"}).encode()).decode()


def test_it_logs_for_any_lightning_module():
    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.save_hyperparameters({"width": 2})

        def training_step(self, batch, batch_idx):
            loss = self.layer(batch).sum()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    logger = NeptuneLogger(prefix="training", **OFFLINE)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=logger, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(3, 2)))
    logger.experiment.stop()
    run = read_offline_run(".neptune")
    assert [point.step for point in run["training/loss"]] == list(range(6))
    assert run.values_set["training/parameters/width"] == 2


def test_values_that_are_not_finite_are_kept_as_text():
    logger = NeptuneLogger(**OFFLINE)
    for step, value in enumerate([1.0, math.nan, math.inf, 2.0]):
        logger.log_metrics({"loss": value}, step)
    logger.experiment.stop()
    run = read_offline_run(".neptune")
    assert [(point.step, point.value) for point in run["loss"]] == [(0, 1.0), (3, 2.0)]
    assert [(point.step, point.value) for point in run["loss_not_finite"]] == [(1, "nan"), (2, "inf")]


def test_a_name_that_neptune_rejects_leaves_the_others():
    logger = NeptuneLogger(**OFFLINE)
    logger.log_metrics({"a": 1.0}, 0)
    with pytest.raises(ValueError, match=r"Neptune rejects the key 'a/b' \(TypeError"):
        logger.log_metrics({"a": 2.0, "a/b": object(), "loss": 3.0}, 1)
    logger.experiment.stop()
    run = read_offline_run(".neptune")
    assert [point.value for point in run["a"]] == [1.0, 2.0]
    assert [point.value for point in run["loss"]] == [3.0]


def test_keys_below_one_another_lose_nothing():
    logger = NeptuneLogger(**OFFLINE)
    values = {"a/b": 1.0, "a/b/c": 2.0, "a": 3.0, "loss": math.nan, "loss/train": 4.0}
    with pytest.warns(UserWarning, match="Neptune cannot hold the key") as caught:
        logger.log_metrics(values, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        logger.log_metrics(values, 1)
        logger.log_metrics(values, 2)
    assert [str(warning.message) for warning in caught if warning.category is UserWarning] == [
        "Neptune cannot hold the key 'a/b/c' beside 'a/b'; its values are logged under 'a/b_/c'.",
        "Neptune cannot hold the key 'a' beside 'a/b'; its values are logged under 'a_'.",
    ]
    logger.experiment.stop()
    run = read_offline_run(".neptune")
    for path, value in {"a/b": 1.0, "a/b_/c": 2.0, "a_": 3.0, "loss_not_finite": "nan", "loss/train": 4.0}.items():
        assert [(point.step, point.value) for point in run[path]] == [(step, value) for step in range(3)], path


def test_hyperparameters_below_one_another_and_of_other_types_lose_nothing():
    logger = NeptuneLogger(**OFFLINE)
    with pytest.warns(UserWarning, match="'parameters/optimizer/lr' beside 'parameters/optimizer'"):
        logger.log_hyperparams({"optimizer": "SGD", "optimizer/lr": 0.1, "width": 2})
    with pytest.warns(UserWarning, match=r"'parameters/width', which holds values of another type \(Integer\)"):
        logger.log_hyperparams({"width": 2.5})
    logger.experiment.stop()
    values = read_offline_run(".neptune").values_set
    assert values["parameters/optimizer"] == "SGD"
    assert values["parameters/optimizer_/lr"] == 0.1
    assert (values["parameters/width"], values["parameters/width_"]) == (2, 2.5)


def test_a_stopped_run_says_what_to_do():
    logger = NeptuneLogger(**OFFLINE)
    logger.experiment.stop()
    with pytest.raises(RuntimeError, match=r"run \S+ is stopped\. Build a new trainer.*trainer\.loggers\.append"):
        logger.log_metrics({"a": 1.0}, 0)
    with pytest.raises(RuntimeError, match="is stopped"):
        logger.log_hyperparams({"a": 1.0})


def test_a_run_of_the_service_continues_as_a_new_offline_run():
    with pytest.warns(UserWarning, match="cannot be used"):
        run = start_run({"project_name": "w/p", "api_tkn": "false", "with_id": "AB-1"})
    assert run.is_offline
    run.stop()


@pytest.fixture
def silent_service():
    """Accepts connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_a_service_that_accepts_and_never_answers_times_out(silent_service, monkeypatch):
    monkeypatch.setattr(neptune_logger, "START_SECONDS", 0.5)
    with pytest.warns(UserWarning, match=rf"{silent_service} cannot be used \(TimeoutError: no answer within"):
        run = start_run({"project_name": "w/p", "api_tkn": token(silent_service)})
    assert run.is_live()
    assert run.is_offline
    run.stop()
    assert not run.is_live()


def test_an_address_without_a_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
    with pytest.warns(UserWarning, match=rf"{address} cannot be used \(ConnectionRefusedError"):
        run = start_run({"project_name": "w/p", "api_tkn": token(address)})
    run.stop()


def test_a_result_that_comes_too_late_is_discarded():
    discarded = threading.Event()
    release = threading.Event()

    def slow():
        release.wait(10)
        return "late"

    with pytest.raises(TimeoutError):
        neptune_logger._call_with_timeout(
            0.05, slow, discard=lambda result: discarded.set() if result == "late" else None
        )
    release.set()
    assert discarded.wait(10)
    assert neptune_logger._call_with_timeout(5, lambda: "in time") == "in time"
    with pytest.raises(ZeroDivisionError):
        neptune_logger._call_with_timeout(5, lambda: 1 / 0)
