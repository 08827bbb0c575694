"""torchmetrics: fed from what the steps return, computed once an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import callbacks as C
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryF1Score

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon


class Predicts(Classifier):
    def train_step(self, batch):
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "preds": logits.argmax(1), "target": y}

    def test_step(self, batch):
        return self.train_step(batch)


class PredictsInTests(Predicts):
    def train_step(self, batch):
        step = super().train_step(batch)
        return {"loss": step["loss"]} if self.mode == "train" else step


def accuracy_of(log: dict[str, Any]) -> float:
    return float((torch.cat(log["preds"]) == torch.cat(log["target"])).float().mean())


def test_metrics_are_computed_for_training_and_testing_by_themselves(make: Any, loader: Any, valid_loader: Any):
    seen: list[dict[str, Any]] = []
    look = C.LambdaCallback(on_train_epoch_end=lambda trainer, _: seen.append(dict(trainer.callback_metrics)))
    trainer = make(Predicts, metrics={"acc": BinaryAccuracy()}, callbacks=[look])
    trainer.run(2, loader, valid_loader)
    assert trainer.test_metrics["acc"] == pytest.approx(accuracy_of(trainer.log_test))
    assert 0 < trainer.train_metrics["acc"] <= 1
    assert float(seen[-1]["val_acc"]) == pytest.approx(trainer.test_metrics["acc"])
    assert float(seen[-1]["train_acc"]) == pytest.approx(trainer.train_metrics["acc"])
    assert "train_preds" not in seen[-1]
    trainer.run(1, loader)
    assert trainer.train_metrics["acc"] == pytest.approx(accuracy_of(trainer.log_train))


def test_a_collection_and_several_values(make: Any, loader: Any):
    trainer = make(Predicts, metrics=MetricCollection([BinaryAccuracy(), BinaryF1Score()]))
    trainer.run(1, loader)
    assert set(trainer.train_metrics) == {"BinaryAccuracy", "BinaryF1Score"}


def test_other_inputs_by_an_override(make: Any, loader: Any):
    class ByKeyword(Classifier):
        def metric_inputs(self, step_dict):
            return {"value": step_dict["loss"]}

    trainer = make(ByKeyword, metrics={"mean": MeanMetric()})
    trainer.run(1, loader)
    assert trainer.train_metrics["mean"] == pytest.approx(float(torch.stack(trainer.log_train["loss"]).mean()))


def test_steps_that_return_no_inputs_are_told_of_once(make: Any, loader: Any, valid_loader: Any):
    trainer = make(PredictsInTests, metrics={"acc": BinaryAccuracy()})
    with pytest.warns(UserWarning, match='train_step returned no "preds" and "target"') as caught:
        trainer.run(3, loader, valid_loader)
    assert len([w for w in caught if "preds" in str(w.message)]) == 1
    assert "acc" not in trainer.train_metrics
    assert "acc" in trainer.test_metrics


def test_a_metric_that_a_step_returns_is_computed_and_reset_each_epoch(make: Any, loader: Any):
    class Returns(Predicts):
        accuracy = BinaryAccuracy()

        def train_step(self, batch):
            step = super().train_step(batch)
            self.accuracy.update(step["preds"], step["target"])
            return {**step, "acc": self.accuracy}

    trainer = make(Returns)
    for _ in range(2):
        trainer.run(1, loader)
        assert trainer.train_metrics["acc"] == pytest.approx(accuracy_of(trainer.log_train))
    assert "acc" not in trainer.log_train


def test_what_is_no_metric_is_refused(make: Any):
    with pytest.raises(TypeError, match=r"no dict of names and torchmetrics"):
        make(metrics={"acc": lambda preds, target: 0.0})


class PredictsOnTwo(Predicts.add_on(MultiGPUAddon)):
    pass


def test_metrics_synchronise_over_processes(make: Any, dataset: Any):
    loader = torch.utils.data.DataLoader(dataset, 5)
    trainer = make(PredictsOnTwo, device=["cpu", "cpu"], metrics={"acc": BinaryAccuracy()})
    trainer.run(1, loader, loader)
    assert len(torch.cat(trainer.log_test["preds"])) == 24
    assert trainer.test_metrics["acc"] == pytest.approx(accuracy_of(trainer.log_test))
