"""Prediction: `predict_step` receives a tensor in one piece, and other batches as the steps receive them."""

from __future__ import annotations

import torch

from zae_engine.trainer.loops.prediction import predict_input


def test_a_tensor_stays_whole_and_containers_are_unpacked(make):
    trainer, rows = make(), torch.ones(3, 10)
    assert predict_input(trainer, rows).shape == (3, 10)
    features, labels = predict_input(trainer, [rows, torch.zeros(3)])
    assert (features.shape, labels.shape) == ((3, 10), (3,))
    assert predict_input(trainer, (rows,)).shape == (3, 10)  # one element, as in a step
    assert list(predict_input(trainer, {"x": rows, "name": "a"})) == ["x", "name"]


def test_a_dict_with_other_keys_and_other_objects_pass_through(make):
    batch = {0: torch.ones(2)}
    assert predict_input(make(), batch) == batch
    assert predict_input(make(), "text") == "text"
