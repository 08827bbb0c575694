"""State checkpoint: Lightning finds the best state of a trainer."""

from __future__ import annotations

import copy
import pickle

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import Checkpoint
from zae_lightning.callbacks import StateCheckpoint

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon

Saving = Classifier.add_on(StateManagerAddon)


def test_lightning_finds_the_best_state(make, loader, tmp_path):
    trainer = make(Saving, save_path=str(tmp_path))
    trainer.run(2, loader)
    trainer.run(1, loader)
    callback = trainer.lightning_trainer.checkpoint_callback
    assert isinstance(callback, (StateCheckpoint, Checkpoint))
    assert callback.best_model_path == str(tmp_path / "model.ckpt")
    assert float(callback.best_model_score) == pytest.approx(trainer.loss_buffer)
    assert trainer.callbacks == [callback]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
def test_a_copy_has_a_new_callback(make, loader, tmp_path, copied):
    trainer = make(Saving, save_path=str(tmp_path))
    trainer.run(1, loader)
    twin = copied(trainer)
    twin.run(2, loader)
    (callback,) = twin.callbacks
    assert float(callback.best_model_score) == pytest.approx(twin.loss_buffer)
    assert float(trainer.callbacks[0].best_model_score) == pytest.approx(trainer.loss_buffer)


def test_nothing_is_best_before_something_has_been_saved(make, loader, tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"of an earlier trainer")

    class Bad(Saving):
        def train_step(self, batch):
            step = super().train_step(batch)
            return {"loss": step["loss"] * float("nan")}

    trainer = make(Bad, save_path=str(tmp_path))
    trainer.run(1, loader)
    assert trainer.callbacks[0].best_model_path == ""
    assert trainer.callbacks[0].best_model_score is None


def test_the_score_is_of_the_latest_epoch_where_run_epoch_is_overridden(make, loader, tmp_path):
    class Own(Saving):
        def run_epoch(self, loader, **kwargs):
            super().run_epoch(loader, **kwargs)

    trainer = make(Own, save_path=str(tmp_path))
    trainer.run(3, loader)
    assert float(trainer.callbacks[0].best_model_score) == pytest.approx(trainer.loss_buffer)


def test_it_saves_in_the_users_lightning_trainer(make, loader, tmp_path):
    trainer = make(Saving, save_path=str(tmp_path))
    own = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    own.fit(trainer.lightning_module, loader)
    assert (tmp_path / "model.ckpt").exists()
    assert len(trainer.get_loss_history()) == 6
    assert trainer.progress_checker.get_epoch() == 3
