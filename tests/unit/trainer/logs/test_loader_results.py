"""Loader results: the means of each loader, under Lightning's names."""

from __future__ import annotations

import torch

from zae_engine.trainer.logs.loader_results import LoaderResults


def test_each_loader_has_its_means():
    results = LoaderResults()
    results.add(0, {"loss": torch.tensor(1.0), "output": torch.ones(2)})
    results.add(0, {"loss": torch.tensor(3.0)})
    results.add(1, {"loss": 5.0, "text": "a", "many": torch.ones(3)})
    assert results.take() == {"test_loss/dataloader_idx_0": 2.0, "test_loss/dataloader_idx_1": 5.0}


def test_after_a_phase_it_begins_again():
    results = LoaderResults()
    results.add(0, {"loss": 1.0})
    results.take()
    assert results.take() == {}


def test_means_over_samples_are_weighted():
    results = LoaderResults()
    results.add(0, {"loss": 1.0}, 3)
    results.add(0, {"loss": 4.0}, 1)
    assert results.take() == {"test_loss/dataloader_idx_0": 1.75}
