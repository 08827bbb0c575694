"""``trainer.lightning_module`` in an ``L.Trainer`` of anyone's own."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from tests.conftest import Classifier

SILENT = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}


def test_fit_does_what_run_does(make: Any, loader: Any, valid_loader: Any):
    ends = []
    for own in (False, True):
        torch.manual_seed(0)
        trainer = make()
        if own:
            L.Trainer(max_epochs=2, num_sanity_val_steps=0, **SILENT).fit(
                trainer.lightning_module, loader, valid_loader
            )
        else:
            trainer.run(2, loader, valid_loader)
        ends.append((trainer.model.weight, torch.stack(trainer.get_loss_history()), trainer.loss_buffer))
        assert trainer.mode == "train"
        assert trainer.progress_checker.get_epoch() == 3
    assert torch.equal(ends[0][0], ends[1][0])
    assert torch.equal(ends[0][1], ends[1][1])
    assert ends[0][2] == ends[1][2]


def test_validate_and_test_return_the_means(make: Any, valid_loader: Any):
    trainer = make()
    for name, key in (("validate", "test_loss"), ("test", "test_loss")):
        [results] = getattr(L.Trainer(**SILENT), name)(trainer.lightning_module, valid_loader, verbose=False)
        assert results[key] == pytest.approx(float(torch.stack(trainer.log_test["loss"]).mean()))
    assert trainer.mode == "train"
    assert trainer.get_loss_history("train") == []


def test_its_loggers_get_the_results_of_epochs(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    own = L.Trainer(max_epochs=2, **{**SILENT, "logger": CSVLogger(tmp_path)}, log_every_n_steps=1)
    own.fit(make().lightning_module, loader, valid_loader)
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_loss", "train_acc", "val_loss", "test_loss", "loss", "acc", "lr"} <= set(header)


def test_an_exception_leaves_the_trainer_as_it_was(make: Any, loader: Any, valid_loader: Any):
    class Fails(Classifier):
        def test_step(self, batch):
            raise ValueError("no test")

    trainer = make(Fails)
    with pytest.raises(ValueError, match="no test"):
        L.Trainer(max_epochs=1, num_sanity_val_steps=0, **SILENT).fit(trainer.lightning_module, loader, valid_loader)
    assert trainer.mode == "train"
    trainer.run(1, loader)
    assert trainer.progress_checker.get_epoch() == 2


def test_a_checkpoint_of_lightnings_resumes(make: Any, loader: Any, tmp_path: Any):
    torch.manual_seed(0)
    whole = make(optimizer=torch.optim.Adam)
    data = DataLoader(loader.dataset, 8)
    L.Trainer(max_epochs=4, **SILENT).fit(whole.lightning_module, data)
    torch.manual_seed(0)
    first = make(optimizer=torch.optim.Adam)
    own = L.Trainer(max_epochs=2, **SILENT)
    own.fit(first.lightning_module, data)
    own.save_checkpoint(tmp_path / "half.ckpt")
    second = make(optimizer=torch.optim.Adam)
    L.Trainer(max_epochs=4, **SILENT).fit(second.lightning_module, data, ckpt_path=tmp_path / "half.ckpt")
    assert torch.equal(second.model.weight, whole.model.weight)


def test_the_tuner_finds_a_learning_rate(make: Any, loader: Any):
    trainer = make()
    own = L.Trainer(max_epochs=10, **SILENT)
    finder = Tuner(own).lr_find(trainer.lightning_module, loader, num_training=20, early_stop_threshold=None)
    assert finder.suggestion() == trainer.optimizer.param_groups[0]["lr"]
    assert trainer.get_loss_history() == []
    assert trainer.progress_checker.get_step() == 1
