"""The metrics as torchmetrics: batch by batch they come to what the functions give for all, in a trainer too."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.conftest import Classifier
from zae_engine import metrics
from zae_engine.trainer.addons import MultiGPUAddon

GENERATOR = torch.Generator().manual_seed(3)
TRUE = torch.randint(0, 4, (12, 40), generator=GENERATOR)
PREDICTED = torch.where(torch.rand(12, 40, generator=GENERATOR) < 0.6, TRUE, TRUE.roll(1))
SIGNAL = torch.randn(12, 40, generator=GENERATOR) + 0.2
OTHER = SIGNAL + torch.randn(12, 40, generator=GENERATOR) / 3
INTERVALS = torch.randint(0, 50, (2, 12, 2), generator=GENERATOR).sort(2).values

CASES: dict[str, tuple[Any, Any, tuple[torch.Tensor, torch.Tensor]]] = {
    "accuracy": (metrics.Accuracy(), lambda p, t: metrics.accuracy(t.flatten(), p.flatten()), (PREDICTED, TRUE)),
    "confusion": (metrics.ConfusionMatrix(4), lambda p, t: metrics.confusion_matrix(p, t, 4), (PREDICTED, TRUE)),
    "f_beta": (metrics.FBeta(2.0, 4), lambda p, t: metrics.f_beta(p, t, 2.0, 4), (PREDICTED, TRUE)),
    "macro": (metrics.FBeta(1, 5, "macro"), lambda p, t: metrics.f_beta(p, t, 1, 5, "macro"), (PREDICTED, TRUE)),
    "mse": (metrics.MSE(), metrics.mse, (SIGNAL, OTHER)),
    "rms": (metrics.RMS(), lambda s, _: metrics.rms(s), (SIGNAL, OTHER)),
    "snr": (metrics.SignalToNoise(), metrics.signal_to_noise, (SIGNAL, OTHER)),
    "psnr": (metrics.PeakSignalToNoise(), metrics.peak_signal_to_noise, (SIGNAL, OTHER)),
    "peak": (metrics.PeakSignalToNoise(5), lambda s, n: metrics.peak_signal_to_noise(s, n, 5), (SIGNAL, OTHER)),
    "miou": (metrics.MIoU(), lambda p, t: metrics.miou(p, t).mean(), (PREDICTED, TRUE)),
    "giou": (metrics.GIoU(), lambda p, t: metrics.giou(p, t).mean(), (INTERVALS[0], INTERVALS[1])),
}


@pytest.mark.parametrize("name", CASES)
def test_batches_come_to_what_the_function_gives_for_all(name):
    metric, function, inputs = CASES[name]
    for _ in range(2):  # the second time after a reset, and from a copy
        for batch in zip(*(values.split(5) for values in inputs), strict=True):
            assert torch.allclose(metric(*batch), torch.as_tensor(function(*batch), dtype=torch.float), rtol=1e-5)
        assert torch.allclose(metric.compute(), torch.as_tensor(function(*inputs), dtype=torch.float), rtol=1e-5)
        metric.reset()
        metric = pickle.loads(pickle.dumps(copy.deepcopy(metric)))


def test_bijective_scores_come_from_the_counts_of_all_sequences():
    metric = metrics.Bijective(3)
    for predicted, true in zip(PREDICTED.split(5), TRUE.split(5), strict=True):
        metric.update(predicted, true)
    results = [metrics.BijectiveMetrix(p, t, 3) for p, t in zip(PREDICTED, TRUE, strict=True)]
    matrix = sum(result.injective_mat for result in results)
    found = metric.compute()
    assert found["injective_f1"] == metrics.f_beta_from_mat(matrix[1:, 1:], 1.0, 3)
    assert found["injective_acc"].item() == pytest.approx(matrix[1:, 1:].trace() / matrix[1:, 1:].sum())
    assert set(found) == {f"{v}_{k}" for v in ("bijective", "injective", "surjective") for k in ("f1", "acc")}


class Predicts(Classifier):
    def train_step(self, batch):
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "preds": logits.argmax(1), "target": y}

    test_step = train_step


ALL = {"accuracy": metrics.Accuracy(), "matrix": metrics.ConfusionMatrix(2), "f1": metrics.FBeta(1.0, 2, "macro")}


def test_a_trainer_computes_them_over_an_epoch(make: Any, loader: Any, valid_loader: Any):
    trainer = make(Predicts, metrics=ALL)
    trainer.run(2, loader, valid_loader)
    predicted, true = (torch.cat(trainer.log_test[key]) for key in ("preds", "target"))
    assert trainer.test_metrics["accuracy"] == pytest.approx(metrics.accuracy(true, predicted).item())
    assert torch.equal(trainer.test_metrics["matrix"], metrics.confusion_matrix(predicted, true, 2))
    assert trainer.test_metrics["f1"] == pytest.approx(metrics.f_beta(predicted, true, 1.0, 2, "macro").item())


def test_a_trainer_of_two_processes_computes_them_over_both(make: Any, loader: Any, valid_loader: Any):
    trainer = make(Predicts.add_on(MultiGPUAddon), device=["cpu", "cpu"], metrics=ALL)
    trainer.run(1, loader, valid_loader)
    predicted, true = (torch.cat(trainer.log_test[key]) for key in ("preds", "target"))
    assert len(true) == len(valid_loader.dataset)
    assert torch.equal(trainer.test_metrics["matrix"], metrics.confusion_matrix(predicted, true, 2))
    assert trainer.test_metrics["accuracy"] == pytest.approx(metrics.accuracy(true, predicted).item())


def test_metrics_called_in_a_step_are_logged(make: Any, loader: Any):
    class CallsThem(Classifier):
        def train_step(self, batch):
            x, y = batch
            logits = self.model(x)
            acc = metrics.accuracy(self._to_cpu(y), self._to_cpu(logits.argmax(1)))
            return {"loss": F.cross_entropy(logits, y), "acc": acc}

    trainer = make(CallsThem)
    trainer.run(1, loader)
    assert len(trainer.log_train["acc"]) == len(loader)
    assert all(0 <= acc <= 1 for acc in trainer.log_train["acc"])
