"""Progress: counts continue from run to run; this fails if Lightning changes the checkpoint format of its loops."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
from zae_lightning import progress


def build():
    return L.Trainer(
        accelerator="cpu", max_epochs=9, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )


def test_a_new_trainer_continues_the_counts():
    trainer = build()
    progress.restore_progress(trainer, {"epochs": 4, "batches": 40, "steps": 20, "logged": 19})
    assert trainer.current_epoch == 4
    assert trainer.global_step == 20
    assert not trainer.fit_loop.restarting
    assert trainer.fit_loop.is_resuming  # so that iter() is not called a second time
    assert progress.read_progress(trainer) == {"epochs": 4, "batches": 40, "steps": 20, "logged": 19}


def test_a_first_run_has_no_counts_to_restore():
    trainer = build()
    progress.restore_progress(trainer, {})
    assert not trainer.fit_loop.is_resuming
    assert progress.read_progress(trainer) == {"epochs": 0, "batches": 0, "steps": 0, "logged": 0}


class Counter:
    """A loader that counts how often it is iterated."""

    batch_size = 8

    def __init__(self, loader):
        self.loader, self.count = loader, 0

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        self.count += 1
        return iter(self.loader)


def test_each_epoch_iterates_its_loader_once(make, loader, valid_loader):
    trainer, train, valid = make(), Counter(loader), Counter(valid_loader)
    trainer.run(2, train, valid)
    trainer.run(3, train, valid)
    assert (train.count, valid.count) == (5, 5)


@pytest.mark.parametrize("failing_step", [1, 4, 5])
def test_an_unfinished_epoch_is_not_counted_but_its_steps_are(make, loader, failing_step):
    from tests.conftest import Classifier

    class Failing(Classifier):
        def train_step(self, batch):
            if self.progress_checker.get_step() == failing_step and not hasattr(self, "failed"):
                self.failed = True
                raise RuntimeError
            return super().train_step(batch)

    trainer = make(Failing)
    with pytest.raises(RuntimeError):
        trainer.run(2, loader)
    trainer.run(2, loader)
    assert trainer.lightning_trainer.current_epoch == (failing_step - 1) // 3 + 2
    assert trainer.lightning_trainer.global_step == failing_step - 1 + 6
    assert len(trainer.get_loss_history()) == failing_step - 1 + 6


def test_lightning_still_counts_manual_steps_in_this_way():
    trainer = build()
    progress.count_step(trainer)
    assert trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed == 1
