"""Stopping: the reasons of Lightning's callbacks, in words."""

from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from zae_lightning.stopping import stop_reason


class Impatient(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def reason_of(make, loader, valid_loader, *callbacks, n_epoch=5, **kwargs):
    trainer = make(callbacks=list(callbacks), **kwargs)
    trainer.run(n_epoch, loader, valid_loader)
    return stop_reason(trainer.lightning_trainer)


def test_a_run_to_its_end_has_none(make, loader, valid_loader):
    assert reason_of(make, loader, valid_loader, n_epoch=1) is None
    assert stop_reason(None) is None


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"min_delta": 10.0, "patience": 2}, "val_loss has not improved by 10 for 2 epochs"),
        ({"min_delta": 10.0, "patience": 1}, "val_loss has not improved by 10 for 1 epoch"),
        ({"mode": "max", "patience": 1}, "val_loss has not improved for 1 epoch"),
        ({"stopping_threshold": 100.0}, "val_loss has reached 100.0"),
        ({"divergence_threshold": 0.0001}, "val_loss is beyond 0.0001"),
    ],
)
def test_early_stopping_says_what_it_has_compared(make, loader, valid_loader, kwargs, why):
    reason = reason_of(make, loader, valid_loader, EarlyStopping("val_loss", **kwargs))
    assert (reason.name, reason.why, reason.monitor) == ("EarlyStopping", why, "val_loss")
    assert not reason.was_used_up


def test_early_stopping_within_an_epoch_counts_checks(make, loader, valid_loader):
    stopping = EarlyStopping("val_loss", min_delta=10.0, patience=2)
    reason = reason_of(make, loader, valid_loader, stopping, lightning={"val_check_interval": 0.34})
    assert reason.why == "val_loss has not improved by 10 for 2 checks"


def test_a_timer_says_its_time_and_others_their_names(make, loader, valid_loader):
    reason = reason_of(make, loader, valid_loader, Timer({"seconds": 0}))
    assert (reason.name, reason.why) == ("Timer", "the time of 0:00:00 is over")
    assert reason_of(make, loader, valid_loader, Impatient()).name == "Impatient"
