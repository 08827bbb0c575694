"""Prediction: `predict_step` receives a tensor in one piece, and other batches as the steps receive them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from zae_engine.trainer.loops.prediction import predict_batch, predict_input


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


def test_arrays_of_numpys_precision_are_predicted_on(make):
    trainer = make()
    rows = np.ones((3, 10))
    assert torch.equal(trainer.predict(rows), trainer.predict(torch.ones(3, 10)))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from Python 3.11 on")
def test_an_exception_has_a_note_with_the_batch(make):
    trainer = make()
    with pytest.raises(RuntimeError) as alone:
        predict_batch(trainer, torch.ones(3, 4))
    assert alone.value.__notes__ == ["in predict_step: Tensor[3, 4] float32"]
    with pytest.raises(RuntimeError) as second:
        trainer.predict([(torch.ones(2, 10),), (torch.ones(2, 4),)])
    assert second.value.__notes__ == ["in predict_step, batch 2: Tensor[2, 4] float32"]
