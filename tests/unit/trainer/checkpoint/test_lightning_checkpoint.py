"""Lightning checkpoints: which file a path means, what is loaded from it, and which files are refused."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from zae_engine.trainer.checkpoint.lightning_checkpoint import KEY, load_checkpoint, read_checkpoint


class Foreign(L.LightningModule):
    """A LightningModule that has nothing to do with this package."""

    def __init__(self):
        super().__init__()
        self.model = nn.Linear(10, 2)

    def training_step(self, batch):
        x, y = batch
        return nn.functional.cross_entropy(self.model(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


@pytest.fixture
def checkpoint(make, loader, tmp_path):
    trainer = make(optimizer=torch.optim.Adam)
    trainer.run(2, loader)
    trainer.lightning_trainer.save_checkpoint(tmp_path / "file.ckpt")
    trainer.file = tmp_path / "file.ckpt"
    return trainer


def test_a_checkpoint_of_a_run_restores_the_trainer(checkpoint, make):
    twin = make(optimizer=torch.optim.Adam)
    load_checkpoint(twin, checkpoint.file)
    assert torch.equal(twin.model.weight, checkpoint.model.weight)
    assert twin.optimizer.state_dict()["state"][0]["step"] == 6
    assert twin.history == checkpoint.history
    assert twin.progress_checker.get_epoch() == 3
    assert twin._zae_state.records.pending_restore["checkpoint"]["global_step"] == 6


def test_a_checkpoint_of_another_lightning_module_restores_parts_and_counts(make, dataset, tmp_path):
    module = Foreign()
    callback = ModelCheckpoint(dirpath=tmp_path)
    off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", max_epochs=2, callbacks=[callback], **off).fit(module, DataLoader(dataset, 8))
    trainer = make()
    trainer.optimizer = momentum(trainer.model.parameters())
    load_checkpoint(trainer, callback.best_model_path)
    assert torch.equal(trainer.model.weight, module.model.weight)
    assert trainer.optimizer.state_dict()["state"].keys() == {0, 1}
    assert trainer.progress_checker.state_dict() == {"step": 7, "epoch": 3}
    assert dict(trainer._zae_state.records.lightning_progress) == {
        **dict.fromkeys(("batches", "steps", "logged"), 6),
        "epochs": 2,
    }


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_name_means_the_file_of_the_model_checkpoint(make, loader, valid_loader, tmp_path, name):
    callback = ModelCheckpoint(dirpath=tmp_path, monitor="val_loss", save_last=True)
    trainer = make(callbacks=[callback])
    trainer.run(2, loader, valid_loader)
    weight = torch.load(getattr(callback, f"{name}_model_path"), weights_only=True)["state_dict"]["model.weight"]
    with torch.no_grad():
        trainer.model.weight.zero_()
    load_checkpoint(trainer, name)
    assert torch.equal(trainer.model.weight, weight)


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_name_without_a_model_checkpoint_is_an_error(make, name):
    with pytest.raises(ValueError, match=f'ckpt_path="{name}" needs a ModelCheckpoint'):
        load_checkpoint(make(), name)


def test_weights_alone_do_not_continue_a_training_but_are_enough_to_test(checkpoint, make, tmp_path):
    content = torch.load(checkpoint.file, weights_only=True)
    torch.save({"state_dict": content["state_dict"]}, tmp_path / "weights.ckpt")
    trainer = make()
    before = trainer.model.weight.detach().clone()
    with pytest.raises(ValueError, match="no state of the optimizer"):
        load_checkpoint(trainer, tmp_path / "weights.ckpt")
    assert torch.equal(trainer.model.weight, before)
    trainer.toggle("test")
    load_checkpoint(trainer, tmp_path / "weights.ckpt")
    assert torch.equal(trainer.model.weight, checkpoint.model.weight)


def test_the_current_weights_are_loaded_in_place_of_averaged_ones(checkpoint, make, tmp_path):
    content = torch.load(checkpoint.file, weights_only=True)
    content["current_model_state"] = content["state_dict"]
    content["state_dict"] = {key: torch.zeros_like(value) for key, value in content["state_dict"].items()}
    torch.save(content, tmp_path / "averaged.ckpt")
    twin = make(optimizer=torch.optim.Adam)
    load_checkpoint(twin, tmp_path / "averaged.ckpt")
    assert torch.equal(twin.model.weight, checkpoint.model.weight)


def test_a_checkpoint_of_another_model_is_refused_and_named(checkpoint, make):
    trainer = make(model=nn.Linear(3, 2), optimizer=torch.optim.Adam)
    with pytest.raises(ValueError, match=r"file\.ckpt' does not fit the trainer's model"):
        load_checkpoint(trainer, checkpoint.file)
    assert trainer._zae_state.records.pending_restore is None


def test_the_state_of_the_trainer_has_its_own_key(checkpoint):
    assert KEY == "zae_engine"  # part of the format on disk
    assert read_checkpoint(str(checkpoint.file))[KEY]["format"] == 1


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(str(tmp_path / "missing.ckpt"))
    with pytest.raises(ValueError, match="is a folder"):
        read_checkpoint(str(tmp_path))
    (tmp_path / "text.ckpt").write_text("text")
    with pytest.raises(ValueError, match=r"text\.ckpt' is no checkpoint"):
        read_checkpoint(str(tmp_path / "text.ckpt"))
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"no 'state_dict'.*apply_weights\(file\)"):
        read_checkpoint(str(tmp_path / "weights.pt"))
