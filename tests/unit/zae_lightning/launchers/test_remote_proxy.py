"""Remote proxy: calls are sent with their path, and executed on the objects in the other process."""

from __future__ import annotations

import copy

import pytest
from lightning.pytorch.loggers import CSVLogger
from zae_lightning.launchers.remote_proxy import (
    RemoteLogger,
    RemoteProxy,
    apply_call,
    logger_attributes,
    make_proxies,
    named_loggers,
)

from tests.conftest import Classifier


class Run(dict):
    """A run like neptune's: series by name, and a method."""

    def __init__(self):
        super().__init__(loss=[])
        self.tags = []


def connected(targets):
    """Return a ``send`` that executes each call at once on the targets."""

    def send(path, args, kwargs):
        name, *rest = path
        apply_call(targets[name], tuple(rest), args, kwargs)

    return send


def test_calls_reach_attributes_and_items_of_the_target():
    run = Run()
    proxy = RemoteProxy(connected({"run": run}), ("run",))
    assert proxy["loss"].append(0.5) is None
    proxy.tags.extend(["a", "b"])
    proxy["name"] = "mine"
    assert run == {"loss": [0.5], "name": "mine"}
    assert run.tags == ["a", "b"]


def test_the_path_of_a_call_tells_keys_from_attributes():
    sent = []
    RemoteProxy(lambda *call: sent.append(call), ("run",))["loss"].append(0.5, step=3)
    assert sent == [(("run", ("loss",), "append"), (0.5,), {"step": 3})]


def test_special_methods_are_not_sent():
    proxy = RemoteProxy(lambda *_: pytest.fail("sent"), ("run",))
    assert not hasattr(proxy, "__getstate_of_nobody__")
    assert isinstance(copy.copy(proxy), RemoteProxy)


def test_a_remote_logger_logs_through_the_logger(tmp_path):
    logger = CSVLogger(tmp_path, name="runs", version=7)
    [remote] = make_proxies({"csv": logger_attributes(logger)}, connected({"csv": logger})).values()
    remote.log_hyperparams({"lr": 0.1})
    remote.log_metrics({"loss": 0.5}, step=3)
    remote.save()
    remote.finalize("success")
    assert (tmp_path / "runs" / "version_7" / "metrics.csv").read_text().splitlines() == ["loss,step", "0.5,3"]
    assert logger.experiment.hparams == {"lr": 0.1}


def test_a_remote_logger_has_the_attributes_of_the_logger(tmp_path):
    logger = CSVLogger(tmp_path, name="runs", version=7)
    remote = RemoteLogger(RemoteProxy(lambda *_: None, ("csv",)), logger_attributes(logger))
    for name in ("name", "version", "save_dir", "root_dir", "log_dir"):
        assert getattr(remote, name) == getattr(logger, name), name
    assert isinstance(remote.experiment.log_metrics, RemoteProxy)
    assert isinstance(remote.own_method, RemoteProxy)


def test_a_remote_run_is_live():
    [run] = make_proxies({"web_logger[wandb]": None}, lambda *_: pytest.fail("sent")).values()
    assert run.is_live() is True


def test_loggers_and_runs_of_a_trainer_have_names(make, tmp_path):
    trainer = make(Classifier, loggers=CSVLogger(tmp_path))
    assert named_loggers(trainer) == {"loggers[0]": trainer.loggers[0]}
    trainer.web_logger = {"wandb": "a run"}
    assert named_loggers(trainer) == {"loggers[0]": trainer.loggers[0], "web_logger[wandb]": "a run"}
    trainer.loggers = trainer.web_logger = None
    assert named_loggers(trainer) == {}
