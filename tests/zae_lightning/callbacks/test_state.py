"""StateManagerAddon is a checkpoint callback to Lightning."""

from __future__ import annotations

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
    twin = StateCheckpoint(trainer)
    twin.load_state_dict(callback.state_dict())
    assert twin.best_model_path == callback.best_model_path


def test_it_saves_in_a_lightning_trainer_of_the_users_own(make, loader, tmp_path):
    trainer = make(Saving, save_path=str(tmp_path))
    own = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    own.fit(trainer.lightning_module, loader)
    assert (tmp_path / "model.ckpt").exists()
    assert len(trainer.get_loss_history()) == 6
    assert trainer.progress_checker.get_epoch() == 3
